package agentruntime

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// Launch is what the supervisor is told about one attempt. It travels as flags
// and not as environment, so that nothing of it reaches the agent by accident.
type Launch struct {
	Run     ids.Run
	Attempt int // from 1
	// RunTimeout bounds the agent's process; Grace is the time from SIGTERM to
	// SIGKILL, 0 kills at once.
	RunTimeout time.Duration
	Grace      time.Duration
	// MaxResult lowers MaxResultBytes for this attempt; 0 means MaxResultBytes.
	MaxResult int
	// DiskLimit is disk_mib in bytes. It only tells an agent that filled its
	// disk from a node whose disk is full; 0 means not known.
	DiskLimit int64
	// Gateway is the base URL of the gateway, TokenFile the file with the pod's token
	// for it; empty: the agent has none.
	Gateway, TokenFile string
	// Egress says that the agent may connect to hosts, through the gateway.
	Egress bool
	// SecretFiles says that the agent reads secrets itself. The gateway has them.
	SecretFiles bool
	// Warm is how long the supervisor waits for a run that adopts its pod. Then Run,
	// Attempt and RunTimeout come with the Adoption. 0: they are known.
	Warm time.Duration
	// Command is the agent's program and its arguments.
	Command []string

	// The places of the contract; empty means those of this package. Only
	// tests need others.
	InputFile, WorkDir, OutputFile, TerminationLog, CgroupDir string
}

// CgroupDir is where a container sees its own control group.
const CgroupDir = "/sys/fs/cgroup"

// Args returns the arguments of the supervisor's binary: "run", flags, "--" and
// the agent's command. It is the only place that spells the flags for a pod.
func (l Launch) Args() []string {
	args := []string{"run"}
	if l.Warm > 0 {
		args = append(args, "--warm="+l.Warm.String())
	} else {
		args = append(args, "--run-id="+string(l.Run), "--attempt="+strconv.Itoa(l.Attempt), "--run-timeout="+l.RunTimeout.String())
	}
	args = append(args, "--grace="+l.Grace.String())
	add := func(name, value string) {
		if value != "" && value != "0" {
			args = append(args, "--"+name+"="+value)
		}
	}
	add("max-result", strconv.Itoa(l.MaxResult))
	add("disk-limit", strconv.FormatInt(l.DiskLimit, 10))
	add("gateway", l.Gateway)
	add("token-file", l.TokenFile)
	if l.Egress {
		args = append(args, "--egress")
	}
	if l.SecretFiles {
		args = append(args, "--secret-files")
	}
	add("input", l.InputFile)
	add("work-dir", l.WorkDir)
	add("output", l.OutputFile)
	add("termination-log", l.TerminationLog)
	add("cgroup", l.CgroupDir)
	return append(append(args, "--"), l.Command...)
}

// ParseLaunch is the inverse of Args, without the leading "run". It writes usage
// to usage where the flags are wrong and returns a fault.Invalid.
func ParseLaunch(args []string, usage io.Writer) (Launch, error) {
	var l Launch
	f := flag.NewFlagSet("agent-runtime run", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar((*string)(&l.Run), "run-id", "", "identifier of the run")
	f.IntVar(&l.Attempt, "attempt", 1, "number of the attempt, from 1")
	f.DurationVar(&l.RunTimeout, "run-timeout", 300*time.Second, "how long the agent may run")
	f.DurationVar(&l.Warm, "warm", 0, "how long to wait for a run; 0: it is given by the flags")
	f.DurationVar(&l.Grace, "grace", 10*time.Second, "time from SIGTERM to SIGKILL")
	f.IntVar(&l.MaxResult, "max-result", MaxResultBytes, "largest result in bytes")
	f.Int64Var(&l.DiskLimit, "disk-limit", 0, "the agent's disk limit in bytes, 0 if not known")
	f.StringVar(&l.Gateway, "gateway", "", "base URL of the gateway; empty: there is none")
	f.StringVar(&l.TokenFile, "token-file", "", "file with the pod's token for the gateway")
	f.BoolVar(&l.Egress, "egress", false, "the agent may connect to hosts, through the gateway")
	f.BoolVar(&l.SecretFiles, "secret-files", false, "the agent reads secrets itself, which the gateway has")
	f.StringVar(&l.InputFile, "input", InputFile, "file with the input")
	f.StringVar(&l.WorkDir, "work-dir", WorkDir, "writable work directory")
	f.StringVar(&l.OutputFile, "output", OutputFile, "file in which the agent may leave its result")
	f.StringVar(&l.TerminationLog, "termination-log", TerminationLog, "file for the envelope")
	f.StringVar(&l.CgroupDir, "cgroup", CgroupDir, "directory of the control group")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return Launch{}, err
		}
		return Launch{}, fault.Wrap(fault.Invalid, err, "the flags are wrong")
	}
	l.Command = f.Args()
	l = l.WithDefaults()
	return l, l.Validate()
}

// WithDefaults returns l with the places and limits of the contract where it
// names none.
func (l Launch) WithDefaults() Launch {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&l.InputFile, InputFile)
	set(&l.WorkDir, WorkDir)
	set(&l.OutputFile, OutputFile)
	set(&l.TerminationLog, TerminationLog)
	set(&l.CgroupDir, CgroupDir)
	if l.MaxResult == 0 {
		l.MaxResult = MaxResultBytes
	}
	return l
}

// Validate checks a launch with its defaults filled in and returns nil or a
// fault.Invalid.
func (l Launch) Validate() error {
	var f findings
	if l.Warm == 0 {
		f.check(ids.Valid(ids.PrefixRun, string(l.Run)), "run-id", "must identify a run")
	} else {
		f.check(l.Run == "", "run-id", "must not be given to a supervisor that waits for its run")
		f.check(l.Warm > 0 && l.Gateway != "", "warm", "must be positive and come with a gateway")
	}
	f.between(int64(l.Attempt), 1, MaxAttempt, "attempt")
	f.check(l.RunTimeout > 0, "run-timeout", "must be positive")
	f.check(l.Grace >= 0, "grace", "must not be negative")
	f.between(int64(l.MaxResult), 1, MaxResultBytes, "max-result")
	f.check(l.DiskLimit >= 0, "disk-limit", "must not be negative")
	f.check(l.Gateway == "" || validGateway(l.Gateway), "gateway", "must be http:// or https://, a host and a port, and nothing else")
	f.check((l.Gateway == "") == (l.TokenFile == ""), "token-file", "must come with a gateway")
	f.check(!l.Egress || l.Gateway != "", "egress", "must come with a gateway")
	f.check(!l.SecretFiles || l.Gateway != "", "secret-files", "must come with a gateway")
	f.check(len(l.Command) > 0 && l.Command[0] != "", "command", "must name a program")
	for i, item := range l.Command {
		f.check(!strings.ContainsRune(item, 0), "command", "item %d must not contain a NUL", i)
	}
	if len(f) == 0 {
		return nil
	}
	texts := make([]string, len(f))
	for i, field := range f {
		texts[i] = fmt.Sprintf("%s %s", field.Pointer, field.Message)
	}
	return fault.New(fault.Invalid, "launch_invalid", "cannot run: "+strings.Join(texts, "; ")).WithFields(f...)
}
