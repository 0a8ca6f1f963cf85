// Package e2e tests the platform as its users meet it: the built programs as
// processes of their own, a real Kubernetes, a real Temporal and a real
// PostgreSQL. `make test` prepares them. Stack is also what package bench measures.
package e2e
