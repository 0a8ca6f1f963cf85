package agentruntime

// Outcome says how an attempt ended, as far as the supervisor can see it. The
// text is the reason code of the run (docs: reason codes) where one exists.
type Outcome string

// The outcomes.
const (
	OK                 Outcome = "ok"                   // exited 0 and left a valid result
	AgentError         Outcome = "agent_error"          // exited with another code or died of a signal
	AgentNoResult      Outcome = "agent_no_result"      // exited 0 without a result
	AgentInvalidResult Outcome = "agent_invalid_result" // exited 0 with what is no result: not JSON, too large, not a file
	AgentOOM           Outcome = "agent_oom"            // killed by the kernel at its memory limit
	AgentDisk          Outcome = "agent_disk"           // failed while its disk was full
	DeadlineExceeded   Outcome = "deadline_exceeded"    // stopped when its run time was over
	// BudgetExhausted: stopped because the run reached its budget. It is the gateway's
	// word only.
	BudgetExhausted Outcome = "budget_exhausted"
	ConfigError     Outcome = "config_error"   // its command does not exist or cannot be started
	PlatformError   Outcome = "platform_error" // not the agent's doing
	// Terminated: stopped by SIGTERM to the container. The supervisor cannot
	// know who wanted it: a cancel, a drained node, or the agent itself, which
	// may signal its container's first process. The reader decides by what it
	// knows from outside; without such knowledge it is an agent_error.
	Terminated Outcome = "terminated"
)

// ExitCode is the exit code of the container. It is only ever the supervisor's
// word; the agent's own exit code is inside of the envelope. Codes that others
// use are left free: 2 (a Go program's panic), 126 to 128 (container runtimes)
// and 129 and above (signals). A container that ends with a code outside of
// this table did not end by the supervisor's decision.
type ExitCode int

// The exit codes.
const (
	ExitOK            ExitCode = 0
	ExitAgentError    ExitCode = 1
	ExitBudget        ExitCode = 116 // of no supervisor
	ExitAgentDisk     ExitCode = 117
	ExitAgentOOM      ExitCode = 118
	ExitTerminated    ExitCode = 119
	ExitPlatform      ExitCode = 120 // a fault of the supervisor, or it could not speak
	ExitInputMissing  ExitCode = 121 // the platform did not mount a readable input
	ExitConfigError   ExitCode = 122
	ExitNoResult      ExitCode = 123
	ExitDeadline      ExitCode = 124
	ExitInvalidResult ExitCode = 125
)

// OutcomeRow is one row of the table of outcomes.
type OutcomeRow struct {
	Code    ExitCode
	Outcome Outcome
	Meaning string
}

// Outcomes returns the complete table, ordered by exit code.
func Outcomes() []OutcomeRow {
	return []OutcomeRow{
		{ExitOK, OK, "the agent exited 0 and left a valid result"},
		{ExitAgentError, AgentError, "the agent exited with another code or died of a signal"},
		{ExitBudget, BudgetExhausted, "the run reached its budget"},
		{ExitAgentDisk, AgentDisk, "the agent failed while its disk was full"},
		{ExitAgentOOM, AgentOOM, "the agent was killed at its memory limit"},
		{ExitTerminated, Terminated, "the container was told to stop"},
		{ExitPlatform, PlatformError, "the supervisor failed"},
		{ExitInputMissing, PlatformError, "the input could not be read"},
		{ExitConfigError, ConfigError, "the command was not found or could not be started"},
		{ExitNoResult, AgentNoResult, "the agent exited 0 without a result"},
		{ExitDeadline, DeadlineExceeded, "the agent was stopped when its run time was over"},
		{ExitInvalidResult, AgentInvalidResult, "the agent exited 0 and its result is not valid"},
	}
}

// Outcome returns what a container's exit code stands for; false for a code
// that is not the supervisor's.
func (c ExitCode) Outcome() (Outcome, bool) {
	for _, row := range Outcomes() {
		if row.Code == c {
			return row.Outcome, true
		}
	}
	return "", false
}

// ExitCode returns the exit code of an outcome; of several the more general.
// Unknown outcomes are a fault of the platform.
func (o Outcome) ExitCode() ExitCode {
	for _, row := range Outcomes() {
		if row.Outcome == o {
			return row.Code
		}
	}
	return ExitPlatform
}

// Known reports whether o is in the table.
func (o Outcome) Known() bool {
	return o == PlatformError || o.ExitCode() != ExitPlatform
}
