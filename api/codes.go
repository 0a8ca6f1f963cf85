package api

import "net/http"

// entry describes a code of problems: the status that it comes with and what it
// means. The description of the API is made from it.
type entry struct {
	status int
	title  string
}

// catalog lists the codes that callers can meet. A test holds it to what the
// API really answers.
var catalog = map[string]entry{
	"malformed_json":          {http.StatusBadRequest, "The body is not well-formed JSON"},
	"key_missing":             {http.StatusUnauthorized, "The call needs an API key"},
	"key_invalid":             {http.StatusUnauthorized, "The API key is not valid"},
	"key_expired":             {http.StatusUnauthorized, "The API key has expired"},
	"scope_missing":           {http.StatusForbidden, "The API key lacks a scope"},
	"not_entitled":            {http.StatusForbidden, "The organization is not entitled to the agent"},
	"entitlement_expired":     {http.StatusForbidden, "The right to run the agent has expired"},
	"entitlement_revoked":     {http.StatusForbidden, "The right to run the agent was revoked"},
	"route_not_found":         {http.StatusNotFound, "There is nothing at this path"},
	"agent_not_found":         {http.StatusNotFound, "There is no such agent"},
	"version_not_found":       {http.StatusNotFound, "There is no such version"},
	"run_not_found":           {http.StatusNotFound, "There is no such run"},
	"output_not_ready":        {http.StatusNotFound, "The run has not ended"},
	"no_output":               {http.StatusNotFound, "The run ended without a result"},
	"plan_not_ready":          {http.StatusNotFound, "The run is not planned"},
	"smoke_test_disabled":     {http.StatusNotFound, "No example agent is configured"},
	"method_not_allowed":      {http.StatusMethodNotAllowed, "The path does not answer this method"},
	"version_taken":           {http.StatusConflict, "The version exists with another content"},
	"agent_taken":             {http.StatusConflict, "The agent belongs to another organization"},
	"run_ended":               {http.StatusConflict, "The run has already ended"},
	"body_too_large":          {http.StatusRequestEntityTooLarge, "The body is too large"},
	"input_too_large":         {http.StatusRequestEntityTooLarge, "The input is too large"},
	"manifest_too_large":      {http.StatusRequestEntityTooLarge, "The manifest is too large"},
	"media_type_unsupported":  {http.StatusUnsupportedMediaType, "The body is not JSON"},
	"request_invalid":         {http.StatusUnprocessableEntity, "The request is not valid"},
	"cursor_invalid":          {http.StatusUnprocessableEntity, "The cursor is not one of this list"},
	"input_invalid":           {http.StatusUnprocessableEntity, "The input does not match the agent's schema"},
	"manifest_invalid":        {http.StatusUnprocessableEntity, "The manifest is not valid"},
	"version_invalid":         {http.StatusUnprocessableEntity, "The version is not valid"},
	"idempotency_key_invalid": {http.StatusUnprocessableEntity, "The idempotency key is not valid"},
	"idempotency_key_reused":  {http.StatusUnprocessableEntity, "The idempotency key belongs to another request"},
	"rate_limited":            {http.StatusTooManyRequests, "Too many requests"},
	"too_many_streams":        {http.StatusTooManyRequests, "Too many open streams"},
	"internal":                {http.StatusInternalServerError, "Something unforeseen happened"},
	"unavailable":             {http.StatusServiceUnavailable, "A part of the platform does not answer"},
	"not_ready":               {http.StatusServiceUnavailable, "The platform is not ready"},
}
