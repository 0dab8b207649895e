"""The HTTP side of the service: routes and their forms, what guards them, metrics, the page. Needs the extra serve."""
