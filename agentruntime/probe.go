package agentruntime

// ProbeMark begins the lines of the log in which a probe reports, each a ProbeReport in
// JSON. What a later line says is added to the earlier ones.
const ProbeMark = "agentmarket-probe: "

// The bounds of a probe.
const (
	// MaxProbeLine bounds a line of a report.
	MaxProbeLine = 32 << 10
	// MaxProbeProcesses is how many processes a probe tries to start.
	MaxProbeProcesses = 2048
)

// ProbeTarget is an address that a probe attacks.
type ProbeTarget struct {
	Name    string `json:"name"`
	Network string `json:"network"` // tcp or udp; udp is asked as a name server is
	Address string `json:"address"` // HOST:PORT
}

// ProbedTarget is what became of it. Times are milliseconds since the first
// instruction of the probe.
type ProbedTarget struct {
	ProbeTarget
	Tries        int   `json:"tries"`
	FirstTry     int64 `json:"first_try_ms"`
	Reached      int   `json:"reached"`
	FirstReached int64 `json:"first_reached_ms,omitempty"`
	LastReached  int64 `json:"last_reached_ms,omitempty"`
	LastTry      int64 `json:"last_try_ms"`
}

// ProbeReport is what a probe found in its container. It has no credential in it: of
// the token it says for whom it is, and how long it is good.
type ProbeReport struct {
	Targets []ProbedTarget `json:"targets,omitempty"`

	Identity  *ProbedIdentity  `json:"identity,omitempty"`
	Processes *ProbedProcesses `json:"processes,omitempty"`
	// Survived: the probe has written far more than its disk limit, and went on.
	Survived bool `json:"survived,omitempty"`
}

// ProbedIdentity is what a process may do, and what it is given.
type ProbedIdentity struct {
	UID          int      `json:"uid"`
	GID          int      `json:"gid"`
	Seccomp      string   `json:"seccomp"`      // of /proc/self/status: 2 is a filter
	NoNewPrivs   string   `json:"no_new_privs"` // 1: it may not gain privileges
	Capabilities []string `json:"capabilities"` // effective, permitted, inheritable, bounding and ambient, in hexadecimal
	Written      []string `json:"written"`      // places outside of its own that could be written
	UserMapped   bool     `json:"user_mapped"`  // its user identifiers are not those of the node
	Kernel       string   `json:"kernel"`       // release
	Audiences    []string `json:"audiences"`    // of its token
	TokenSeconds int64    `json:"token_seconds"`
	OtherTokens  []string `json:"other_tokens"` // paths of credentials that should not be there
}

// ProbedProcesses is what came of starting processes without end.
type ProbedProcesses struct {
	Started int   `json:"started"`
	Refused bool  `json:"refused"` // the system would start no more
	Limit   int64 `json:"limit"`   // as its control group says; 0: no number
}
