// Swagger UI over our own OpenAPI document, asking nobody else for anything.

SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  // Nobody outside is asked to check the document, and no address bar points to another one.
  validatorUrl: "none",
  queryConfigEnabled: false,
  persistAuthorization: false,
});
