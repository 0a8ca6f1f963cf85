// Command research answers a question with a model, which may use the tools that the
// run is granted. It shows how an agent speaks with both through the gateway.
//
//	input ─► Run.Granted: which model, any tools?           main.go
//	           │
//	         for each round, at most max_rounds:            research.go
//	           Progress ─► ask the model
//	             ├ it wants tools ─► call them ─┐           tools.go
//	             │    ▲ next round ◄────────────┘
//	             └ it answers
//	           Partial: what is worth having by now
//	           │
//	         artifact report.md, result                     report.go
//
// A question is a stranger's text, and so is what tools return: the model is told so,
// and everything that grows has a bound. The sources of an answer are the addresses in
// it that a tool has shown; those that the model made up are left out.
package main
