// Leads back to where somebody wanted to go, after a wrong token too. The server takes only paths of its own.
const KEY = "vitals.next";
if (location.pathname !== "/sign-in") sessionStorage.setItem(KEY, location.pathname + location.search);
document.querySelector("input[name=next]").value = sessionStorage.getItem(KEY) ?? "/";
