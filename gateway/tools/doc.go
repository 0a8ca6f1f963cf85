// Package tools is the tools that a run is granted, as one MCP endpoint (streamable
// HTTP). It is a server to the agent and a client to the servers that are registered.
//
//	agent ──► session: which run, what is granted?    Config.Session
//	            │
//	          limits: calls a minute, and in all      limits.go
//	            │
//	          tools/list: all servers at once         list.go, names.go
//	          tools/call:                             call.go
//	            granted? ─► a person agrees? ─► server, with its credentials   client.go
//	            │
//	          record what was called, not with what   record.go
//
// An agent is a stranger, and so is a server. The credentials of a server are added
// here and never reach the pod; texts of its failures do not either. What a server
// offers is bounded before the agent sees it, and what it asks of its client (sampling,
// elicitation, roots) is not answered: there are tools and nothing else, no resources
// and no prompts. A tool that is not granted, one that is none and one of a server that
// is none are the same to the agent.
//
// The endpoint keeps no sessions: each request is whole by itself, and any of several
// replicas answers it. Each call speaks to its server in a session of its own. Only the
// limits are counted, and each process counts for itself: behind n replicas a run may
// have up to n times as many calls.
//
// Where OpenAI's clients want names of ^[a-zA-Z0-9_-]{1,64}$, a tool of MCP may have a
// longer one, with dots and slashes. The agent knows a tool as server__tool; a name that
// does not fit is shortened, and ends with a hyphen and eight hexadecimal digits of the
// whole name's SHA-256. Two that are the same then are both left out.
package tools
