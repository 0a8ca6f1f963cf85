package agentruntime

import (
	"encoding/json"
	"net/url"
	"regexp"
	"time"
)

// The gateway is what a pod reaches, and all that it reaches. Every call is HTTP with
// the pod's token: Authorization: Bearer <content of AGENT_TOKEN_FILE>. The file is
// replaced while a long run goes on, so it is read for each call.
//
//	GET  /v1/run             what is granted to the run                 [GatewayRun]
//	GET  /v1/input           the input, one JSON value
//	POST /v1/events          what the agent tells of its work           [GatewayEvents]
//	POST /v1/heartbeat       204 while the attempt goes on
//	PUT  /v1/result          the result, one JSON value                 [GatewayBody]
//	PUT  /v1/artifacts/NAME  a file beside the result                   [GatewayBody]
//	POST /v1/charges         a named event of the price                 [GatewayCharge]
//	POST /v1/runs            another agent, as a child of this run      [GatewayChild]
//	GET  /v1/runs/ID         a child of this run
//	GET  /v1/secret-files    the secrets that the agent reads itself    [GatewaySecretFiles]
//	POST /v1/end             the supervisor's word that the agent ended [Envelope]
//	CONNECT HOST:PORT        a connection to a host that is granted, TLS in it
//
// A CONNECT has the token in Proxy-Authorization. Where the plan grants hosts, the
// supervisor serves a proxy on loopback that adds it, and names it in HTTPS_PROXY.
//
// Errors are application/problem+json with a stable code. Of an attempt that is over,
// canceled or replaced every call is 409 session_closed.
const (
	// PathSecretFiles is where the supervisor finds the secrets of its run.
	PathSecretFiles = "/v1/secret-files"
	// EnvGateway is the base URL of the gateway; absent: the cluster has none.
	EnvGateway = "AGENT_GATEWAY_URL"
	// EnvTokenFile is the path of the file with the pod's token.
	EnvTokenFile = "AGENT_TOKEN_FILE"
	// TokenDir is where the platform mounts the token, TokenName its name there.
	TokenDir  = "/agentmarket/token"
	TokenName = "token"
	// TokenFile is the file with the token.
	TokenFile = TokenDir + "/" + TokenName
)

// The bounds of what an agent sends to the gateway.
const (
	// MaxEvents bounds the events of one call, MaxRunEvents those of a run,
	// MaxEventData the data of one event in bytes.
	MaxEvents    = 100
	MaxRunEvents = 10_000
	MaxEventData = 4 << 10
	// MaxArtifacts bounds the artifacts of a run, MaxArtifactBytes their sum.
	MaxArtifacts     = 100
	MaxArtifactBytes = 256 << 20
	// MaxArtifactName bounds the name of an artifact, in bytes.
	MaxArtifactName = 128
	// MaxSecretFiles bounds the secrets that an agent reads itself, MaxSecretFilesBytes
	// their sum.
	MaxSecretFiles      = 8
	MaxSecretFilesBytes = 16 << 10
	// MaxChargeCount bounds the events of one charge.
	MaxChargeCount = 1_000_000
)

// GatewayRun is what an agent may know of its own run.
type GatewayRun struct {
	Run            string    `json:"run_id"`
	Attempt        int       `json:"attempt"`
	Agent          string    `json:"agent"` // publisher/name
	Version        string    `json:"version"`
	Deadline       time.Time `json:"deadline,omitzero"` // of the attempt, where it is known
	Tools          []string  `json:"tools"`
	Models         []string  `json:"models"`
	Secrets        []string  `json:"secrets"` // names
	SecretFiles    []string  `json:"secret_files"`
	Egress         []string  `json:"egress"`
	MaxResultBytes int64     `json:"max_result_bytes"`
}

// GatewaySecretFiles are the secrets that an agent reads itself, in the order of its
// manifest.
type GatewaySecretFiles struct {
	Files []GatewaySecretFile `json:"files"`
}

// GatewaySecretFile is one of them.
type GatewaySecretFile struct {
	Name  string `json:"name"`
	Value []byte `json:"value"`
}

// The types of events that an agent may tell.
const (
	// EventProgress has a percentage.
	EventProgress = "progress"
	// EventNote is anything else worth knowing while the run goes on.
	EventNote = "note"
)

// GatewayEvents are some events, in their order.
type GatewayEvents struct {
	Events []GatewayEvent `json:"events"`
}

// GatewayEvent is what an agent tells of its work, for the run's event log.
type GatewayEvent struct {
	Type string `json:"type"` // EventProgress, EventNote
	// Message is for people, at most MaxMessageBytes on one line: longer ones are cut.
	Message string `json:"message,omitempty"`
	// Percent is of EventProgress, 0 to 100.
	Percent *int `json:"percent,omitempty"`
	// Data is any JSON value of at most MaxEventData bytes.
	Data json.RawMessage `json:"data,omitempty"`
}

// GatewayBody is a body that was stored.
type GatewayBody struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// GatewayCharge asks for a charge for a named event of the price that the run was
// started at. It comes with an Idempotency-Key: the same key charges once.
type GatewayCharge struct {
	Event string `json:"event"`
	Count int64  `json:"count"`
}

// GatewayCharged is what a charge came to.
type GatewayCharged struct {
	AmountMicros int64  `json:"amount_micros"`
	Currency     string `json:"currency"`
}

// GatewayChild asks for a run of another agent as a child of this one. It comes with
// an Idempotency-Key.
type GatewayChild struct {
	Agent   string          `json:"agent"` // publisher/name
	Version string          `json:"version,omitempty"`
	Input   json.RawMessage `json:"input"`
}

// GatewayChildRun is a child, as its parent sees it.
type GatewayChildRun struct {
	Run     string          `json:"run_id"`
	Agent   string          `json:"agent"`
	Status  string          `json:"status"`
	Reason  string          `json:"reason,omitempty"`
	Message string          `json:"message,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"` // once it succeeded
}

// validGateway reports whether a base URL is one to which paths can be added.
func validGateway(base string) bool {
	u, err := url.Parse(base)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Port() != "" && base == u.Scheme+"://"+u.Host
}

var artifactName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// ValidArtifactName reports whether an artifact may be called so: letters, digits,
// dots, underscores and hyphens, none of the last three first but the underscore. Such
// a name is no path, whoever joins it to one.
func ValidArtifactName(name string) bool {
	return len(name) <= MaxArtifactName && artifactName.MatchString(name)
}

// CleanMessage makes text fit for a message of an event: see [Envelope.Message].
func CleanMessage(text string) string { return cleanMessage(text) }
