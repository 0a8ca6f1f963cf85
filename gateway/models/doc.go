// Package models is the models that a run is granted, as an endpoint that OpenAI's
// clients know: POST /v1/chat/completions, also streamed, and GET /v1/models.
//
//	agent ──► session: which run, which models?      Config.Session
//	            │
//	          read and rewrite the body              body.go, content.go
//	            │
//	          reserve what it may cost at most ────► Meter.Reserve: 402 without room
//	            │
//	          call the upstream with its key         upstream.go
//	            │
//	          pass the answer on, count              answer.go, stream.go, tally.go
//	            │
//	          settle what it cost ─────────────────► Meter.Settle, once
//
// An agent is a stranger. The key of the upstream, its address and the organization's
// name never reach it, and nothing of its request reaches the upstream but a body that
// was read and written anew: which model it is, how much it may say, in whose name and
// what is kept of it is set here. Fields that are not known pass, for upstreams have
// more than this package can know; those that are known to cost beside tokens, to choose
// another model, or to make the upstream fetch something are refused.
//
// A call reserves the price of its input, a token a byte, and of all the output that it
// may have. Its output is lowered to what the budget still pays for. What it cost is
// settled before the agent sees the end of the answer, so that its next call finds the
// room that is left. The cost is never more than what was reserved.
//
// Where an answer ends before the upstream has said what it counted (the agent or the
// upstream has gone, time is up), tokens are estimated, and the usage says so:
//
//   - input: one for each three bytes of the body that was sent, begun ones count, and
//     what the model counts for each image or sound;
//   - output: one for each three bytes of text that were passed on, begun ones count,
//     at least one for each chunk with text, and never more than what was reserved.
//
// A stream is cut where it surely has more output than was reserved, which takes an
// upstream that ignores the bound: more chunks with text than tokens, or more than 32
// bytes for each.
//
// A call that is not streamed is read to its end although the agent has gone: the
// upstream goes on anyway, and so says what it counted. A process that dies leaves a
// reservation; see [Meter].
package models
