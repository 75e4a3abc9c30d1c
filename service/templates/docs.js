// In the colours that the browser asks for, as Swagger UI has them.
const dark = matchMedia("(prefers-color-scheme: dark)");
const wear = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
wear();
dark.addEventListener("change", wear);

SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null, docExpansion: "list"});
