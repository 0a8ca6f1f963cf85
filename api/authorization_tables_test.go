package api_test

import (
	"fmt"

	"agentmarket/marketplace"
)

// The tables of TestAuthorization: what is particular about a call, and what it is
// sent. The paths are filled in by authorization_world_test.go.

// nestedActions are asked for besides the action of a call when the object is not
// the caller's own. In this test people have their own key as the object, and
// programs that of another program.
var nestedActions = map[string]marketplace.Action{
	"revoke-api-key": marketplace.ActKeysManage,
	"rotate-api-key": marketplace.ActKeysManage,
}

// namesInBody are calls that name an object of a tenant in their body alone.
var namesInBody = map[string]bool{"place-order": true, "create-schedule": true}

// ofTheSeller are calls about an object of a tenant that hangs on an agent which
// somebody else publishes.
var ofTheSeller = map[string]bool{"delete-review": true}

// absentAnyway are the codes of calls whose object is not there in the state that
// the world is in.
var absentAnyway = map[string]string{
	"schedule-job": "smoke_test_disabled",
	"get-output":   "output_not_ready",
	"get-artifact": "artifact_not_found",
	"get-plan":     "plan_not_ready",
	"get-receipt":  "receipt_not_ready",

	// The run asked nobody about anything; and somebody may have removed the server before.
	"approve-tool-call":           "tool_approval_not_found",
	"deny-tool-call":              "tool_approval_not_found",
	"delete-platform-tool-server": "tool_server_not_found",

	"get-installation": "installation_not_found", // the publisher runs its own agent as it is
}

// bodies are a valid body of each call that reads one, empty where none is needed.
var bodies = map[string]func(*tenant) string{
	"publish-version":     fixed(publication("1.0.0")),
	"validate-input":      fixed(`{"input":{"prompt":"hello"}}`),
	"start-run":           fixed(`{"input":{"prompt":"hello"}}`),
	"schedule-job":        fixed(`{"prompt":"hello"}`),
	"cancel-run":          fixed(""),
	"plan-run":            fixed(`{"input":{"prompt":"hello"}}`),
	"retry-run":           fixed(""),
	"approve-run":         fixed(`{"note":"as agreed"}`),
	"deny-run":            fixed(""),
	"set-role":            fixed(`{"role":"member"}`),
	"invite":              fixed(`{"email":"guest@example.com","role":"member"}`),
	"accept-invitation":   fixed(`{"token":"nonsense","name":"Ada"}`),
	"create-team":         fixed(`{"name":"another"}`),
	"add-to-team":         fixed(""),
	"create-api-key":      fixed(`{"personal":true}`),
	"rotate-api-key":      fixed(""),
	"create-organization": func(of *tenant) string { return fmt.Sprintf(`{"name":"beside-%s"}`, of.org.Name) },

	"put-listing":           fixed(draft("private")),
	"submit-listing":        fixed(""),
	"withdraw-listing":      fixed(""),
	"deprecate-listing":     fixed(""),
	"restore-listing":       fixed(""),
	"comment-on-listing":    fixed(`{"comment":"What is missing?"}`),
	"create-grant":          fixed(`{"organization":"seller","access":"run"}`),
	"set-channel":           fixed(`{"version":"1.0.0"}`),
	"create-rollout":        fixed(`{"version":"1.0.0","from":"0.9.0","channel":"canary","stages":[{"percent":10}]}`),
	"pause-rollout":         fixed(""),
	"resume-rollout":        fixed(""),
	"advance-rollout":       fixed(`{"stage":1}`),
	"rollback-rollout":      fixed(`{"reason":"It does not greet."}`),
	"put-review":            fixed(review),
	"set-installation":      fixed(`{"version":"1.0.0"}`),
	"consent":               fixed(`{"version":"1.0.0"}`),
	"comment-on-submission": fixed(`{"comment":"What does it read?"}`),
	"approve-listing":       fixed(""),
	"reject-listing":        fixed(`{"comment":"Say what it reads."}`),
	"suspend-listing":       fixed(`{"notice":"It is being looked into."}`),
	"reinstate-listing":     fixed(""),

	"create-schedule":   func(of *tenant) string { return schedule(of.org.Name) },
	"change-schedule":   fixed(`{"name":"Daily"}`),
	"pause-schedule":    fixed(""),
	"resume-schedule":   fixed(""),
	"trigger-schedule":  fixed(""),
	"backfill-schedule": fixed(`{"from":"2026-11-21T00:00:00Z","to":"2026-11-22T00:00:00Z"}`),

	"create-webhook":        fixed(webhook),
	"change-webhook":        fixed(`{"disabled":false}`),
	"rotate-webhook-secret": fixed(""),
	"put-secret":            fixed(`{"value":"s3cr3t"}`),
	"test-webhook":          fixed(""),
	"redeliver":             fixed(""),

	"set-price":          fixed(price),
	"estimate-run":       fixed(""),
	"place-order":        func(of *tenant) string { return fmt.Sprintf(`{"agent":"%s/greeter"}`, of.org.Name) },
	"cancel-order":       fixed(""),
	"limit-entitlement":  fixed(`{"runs_per_month":10}`),
	"refund-transaction": fixed(`{"reason":"wrong result"}`),
	"create-top-up":      fixed(`{"amount":` + dollar + `}`),
	"set-spend-limit":    fixed(`{"amount":` + dollar + `}`),
	"credit-wallet":      fixed(credit),
	"set-credit-limit":   fixed(`{"credit":` + dollar + `}`),
	"pay-out":            fixed(credit),
	"confirm-top-up":     fixed(""),

	"set-policy":           fixed(policy),
	"set-team-policy":      fixed(policy),
	"set-agent-policy":     fixed(policy),
	"set-platform-policy":  fixed(policy),
	"set-limits":           fixed(limits),
	"set-team-limits":      fixed(limits),
	"set-member-limits":    fixed(limits),
	"set-agent-limits":     fixed(limits),
	"set-platform-limits":  fixed(limits),
	"run-doctor":           fixed(""),
	"set-quota":            fixed(limits),
	"set-publisher-limits": fixed(limits),

	"set-tool-server":          fixed(toolServer),
	"set-platform-tool-server": fixed(toolServer),
	"approve-tool-call":        fixed(""),
	"deny-tool-call":           fixed(""),
}

const (
	dollar = `{"amount_micros":1000000,"currency":"USD"}`
	credit = `{"amount":` + dollar + `,"reason":"test"}`
	price  = `{"model":"per_run","currency":"USD","per_run_micros":1000}`
	review = `{"version":"1.0.0","rating":4,"title":"It greets"}`
	policy = `{"max_run_seconds":86400}`
	limits = `{"concurrent_runs":1000}`

	toolServer = `{"url":"https://tools.example.com/mcp"}`

	webhook = `{"url":"https://hooks.example.com/agentmarket"}`
)

func schedule(publisher string) string {
	return fmt.Sprintf(`{"name":"Nightly","agent":"%s/greeter","input":{"prompt":"hello"},"cron":"0 3 * * *"}`, publisher)
}

func draft(visibility string) string {
	return fmt.Sprintf(`{"title":"Greeter","summary":"Greets.","visibility":%q}`, visibility)
}

func fixed(body string) func(*tenant) string { return func(*tenant) string { return body } }
