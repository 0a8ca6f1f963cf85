// Package archtest holds the code to the map in docs/architecture.md: which
// package may import what, and which words a layer may use. It has no code of
// its own, only tests:
//
//	go list ─► graph ─► rules ─► every breach, with the reason for the rule
//	                             and the place where the code belongs
//
// rules_test.go is the table to read and to change; a change of it is a change
// of the architecture and of its page. The rules themselves are tested on small
// graphs that break them, in breach_test.go: a rule that cannot fail says
// nothing.
package archtest
