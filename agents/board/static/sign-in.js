// Leads back to where somebody wanted to go; the server takes only paths of its own.
if (location.pathname !== "/sign-in") {
  document.querySelector("input[name=next]").value = location.pathname + location.search;
}
