//! Monitoring routes of Plimsoll: JSON, event stream, OpenAPI, probes and Prometheus
