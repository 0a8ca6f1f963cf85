package agentruntime

import "time"

// The files and folders that an agent finds in its container.
const (
	// InputFile holds the input, one JSON value. It is read-only and also the
	// agent's stdin.
	InputFile = "/agentmarket/input/input.json"
	// InputDir is where the platform mounts the input.
	InputDir = "/agentmarket/input"
	// InputName is the name of the input within InputDir.
	InputName = "input.json"
	// SecretsDir has a file for each secret that the agent reads itself, in memory.
	SecretsDir = "/agentmarket/secrets"
	// WorkDir is writable, the current directory and HOME of the agent.
	WorkDir = "/work"
	// TempDir is writable, too.
	TempDir = "/tmp"
	// OutputFile is where an agent may leave its result. The supervisor makes
	// the directory.
	OutputFile = "/work/.agentmarket/output.json"
	// RuntimeDir is where the platform mounts or installs the supervisor.
	RuntimeDir = "/agentmarket/runtime"
	// SupervisorPath is the supervisor's binary, the container's entry point.
	SupervisorPath = "/agentmarket/runtime/agent-runtime"
	// TerminationLog is where the supervisor writes the envelope.
	TerminationLog = "/dev/termination-log"
)

// EnvPrefix begins the names of all variables of the contract. A manifest must
// not set names that begin with it; those that an image sets are dropped.
const EnvPrefix = "AGENT_"

// The environment variables of the contract.
const (
	EnvInput    = "AGENT_INPUT"    // path of the input file
	EnvOutput   = "AGENT_OUTPUT"   // path of the result file
	EnvRunID    = "AGENT_RUN_ID"   // identifier of the run, run_…
	EnvAttempt  = "AGENT_ATTEMPT"  // number of the attempt, from 1
	EnvSecrets  = "AGENT_SECRETS"  // directory of secrets, where the manifest asks for files
	EnvDeadline = "AGENT_DEADLINE" // when the agent gets SIGTERM, RFC 3339, UTC
)

// The limits of what an agent hands back.
const (
	// MaxResultBytes bounds a result, as the agent wrote it.
	MaxResultBytes = 1 << 20
	// MaxInlineBytes is the largest result inside of an envelope; what is
	// larger travels in frames.
	MaxInlineBytes = 3 << 10
	// MaxEnvelopeBytes is what Kubernetes keeps of a termination message.
	MaxEnvelopeBytes = 4096
	// MaxMessageBytes bounds the text for people in an envelope.
	MaxMessageBytes = 512
	// MaxAttempt bounds the number of an attempt.
	MaxAttempt = 1000
)

// FinishTime is what the supervisor may need at most after the agent's grace
// period: to kill the rest, drain the pipes, write frames and envelope. The
// pod's terminationGracePeriodSeconds must be at least grace + FinishTime and
// its activeDeadlineSeconds at least run timeout + grace + FinishTime;
// otherwise the kubelet kills the supervisor before it could speak.
const FinishTime = 20 * time.Second
