// Package marketplace is layer 1: who can create, discover, purchase and access
// agents. It owns organizations, API keys and entitlements.
//
// The layer never looks at runtime health: an agent can be granted to an
// organization while nothing of it can run, and a run that fails changes
// nothing here.
//
//	API key ──► Principal (organization, scopes)
//	organization + agent ──► Entitlement ──► Decision (allowed, or a stable code
//	                                         and the way to the right)
package marketplace
