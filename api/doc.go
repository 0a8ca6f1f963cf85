// Package api is the REST API: the edge over HTTP of the marketplace and of the
// product control plane. Gin serves; huma's adapter for it makes OpenAPI 3.1
// from the same Go types that decode and encode, and bodies are validated
// against exactly that document, so it cannot drift.
//
//	request
//	  │ observe     request id, recovery, access log, security headers     observe.go
//	  │ authorize   API key, scope, rate limit                             auth.go, ratelimit.go
//	  │ readBody    size, media type, JSON, the published schema           body.go, validate.go
//	  ▼
//	handler ──► launch: starts and dry runs, by the rules of both layers
//	  │    └──► layer 1: who may     marketplace.Store
//	  │    └──► layer 2: what runs   product.AgentStore, product.RunStore (the record is the outbox), product.ControlStore
//	  │    └──► Engine, two seconds at most; what it does not hear, the relay says later
//	  ▼
//	body of runs_bodies.go, agents.go, …   or   problem of problem.go
//
// Every answer that is no success is a problem document (RFC 9457). Package httpfault
// turns kinds of faults into statuses; codes.go lists the codes.
//
// What belongs to another organization does not exist: 404, never 403.
//
// Adding a call means adding a route beside its handler; the golden list of
// operations in testdata shows it to the reviewer.
package api
