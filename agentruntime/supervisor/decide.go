//go:build linux

package supervisor

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"agentmarket/agentruntime"
)

// stopCause says why the supervisor ended the agent.
type stopCause int

const (
	notStopped stopCause = iota
	stoppedAtDeadline
	stoppedFromOutside
	stoppedByFault
)

// ending is everything that was seen of an attempt: the input of decide.
type ending struct {
	startedAt, finishedAt time.Time

	fault      error // the platform's
	inputFault error // the input cannot be read
	startFault error // the command cannot be started

	stop   stopCause
	killed bool                // it did not end within its grace
	status *syscall.WaitStatus // of the agent's main process; nil: never started

	oomKilled bool // the kernel killed something for memory
	diskFull  bool // the work directory's file system is full …
	diskOwn   bool // … and the agent filled it

	result  []byte // valid, compact; nil: none
	invalid string // what is wrong with the result

	lastError                string // the agent's last line on stderr
	stdoutBytes, stderrBytes int64
}

// verdict is what decide makes of an ending.
type verdict struct {
	code    agentruntime.ExitCode
	outcome agentruntime.Outcome
	message string
}

// decide is pure. The order of its cases is the order of precedence: the
// platform's own faults first, then what the supervisor did, then the agent.
func decide(e ending, runTimeout time.Duration) verdict {
	say := func(code agentruntime.ExitCode, format string, args ...any) verdict {
		outcome, _ := code.Outcome()
		return verdict{code: code, outcome: outcome, message: fmt.Sprintf(format, args...)}
	}
	switch {
	case e.fault != nil:
		return say(agentruntime.ExitPlatform, "the supervisor failed: %v", e.fault)
	case e.inputFault != nil:
		return say(agentruntime.ExitInputMissing, "the input cannot be read: %v", e.inputFault)
	case e.startFault != nil:
		return say(agentruntime.ExitConfigError, "the agent's command cannot be started: %v", e.startFault)
	case e.status == nil:
		return say(agentruntime.ExitPlatform, "the supervisor failed: the agent never ran")
	case e.stop == stoppedAtDeadline:
		return say(agentruntime.ExitDeadline, "the agent was stopped after its run time of %v%s", runTimeout, afterGrace(e))
	case e.stop == stoppedFromOutside:
		return say(agentruntime.ExitTerminated, "the container was told to stop%s", afterGrace(e))
	case e.result != nil:
		return say(agentruntime.ExitOK, "")
	case e.oomKilled && diedOfKill(*e.status):
		return say(agentruntime.ExitAgentOOM, "the agent was killed at its memory limit")
	case e.diskFull && e.diskOwn:
		return say(agentruntime.ExitAgentDisk, "the agent's disk is full; %s", howItFailed(e))
	case e.diskFull:
		return say(agentruntime.ExitPlatform, "the node's disk is full; %s", howItFailed(e))
	case e.status.ExitStatus() != 0:
		return say(agentruntime.ExitAgentError, "%s", howItFailed(e))
	case e.invalid != "":
		return say(agentruntime.ExitInvalidResult, "%s", howItFailed(e))
	default:
		return say(agentruntime.ExitNoResult, "%s", howItFailed(e))
	}
}

func afterGrace(e ending) string {
	if e.killed {
		return " and did not end within its grace period"
	}
	return ""
}

// diedOfKill: by the signal itself, or as a shell reports it of its child.
func diedOfKill(s syscall.WaitStatus) bool {
	return s.Signaled() && s.Signal() == syscall.SIGKILL || s.ExitStatus() == 128+int(syscall.SIGKILL)
}

// howItFailed describes the end of an agent that ended by itself.
func howItFailed(e ending) string {
	var text strings.Builder
	switch {
	case e.status.Signaled():
		fmt.Fprintf(&text, "the agent died of %s", signalName(e.status.Signal()))
	case e.status.ExitStatus() != 0:
		fmt.Fprintf(&text, "the agent exited with code %d", e.status.ExitStatus())
	case e.invalid != "":
		return e.invalid
	default:
		return "the agent exited without a result: no output file and nothing on stdout"
	}
	if e.oomKilled {
		text.WriteString(", one of its processes was killed at the memory limit")
	}
	if line := strings.TrimSpace(e.lastError); line != "" {
		text.WriteString(": " + line)
	}
	return text.String()
}

// signalNames are those that a process dies of; syscall has only descriptions.
var signalNames = [...]string{1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS",
	8: "FPE", 9: "KILL", 10: "USR1", 11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM",
	16: "STKFLT", 24: "XCPU", 25: "XFSZ", 26: "VTALRM", 27: "PROF", 29: "IO", 30: "PWR", 31: "SYS"}

func signalName(s syscall.Signal) string {
	if int(s) < len(signalNames) && signalNames[s] != "" {
		return "SIG" + signalNames[s]
	}
	return fmt.Sprintf("SIG%d", int(s))
}
