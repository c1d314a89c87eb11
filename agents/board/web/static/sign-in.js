// Returns to the requested page after signing in, also after a wrong token. The server accepts only its own paths.
const KEY = "vitals.next";
if (location.pathname !== "/sign-in") sessionStorage.setItem(KEY, location.pathname + location.search);
document.querySelector("input[name=next]").value = sessionStorage.getItem(KEY) ?? "/";
