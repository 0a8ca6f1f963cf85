package infra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentmarket/agentruntime"
)

// State is whether something holds.
type State string

// The states of a finding.
const (
	Holds   State = "holds"
	Broken  State = "broken"
	Unknown State = "unknown" // nobody could tell
)

// The checks of a doctor, by their stable names.
const (
	CheckProbe       = "probe"
	CheckNetwork     = "network_denied"
	CheckFirstPacket = "network_denied_from_first_packet"
	CheckGateway     = "gateway_reached"
	CheckSeccomp     = "seccomp"
	CheckPrivileges  = "no_privileges"
	CheckNonRoot     = "non_root"
	CheckReadOnly    = "read_only_root"
	CheckProcesses   = "process_limit"
	CheckDisk        = "disk_limit"
	CheckToken       = "token"
	CheckKernel      = "own_kernel"
	CheckUsers       = "user_namespace"
)

// GatewayAudience is whom the token of a pod is for.
const GatewayAudience = "agentmarket-gateway"

const (
	// probeSettles: the last try of a probe may be on its way when it stops.
	probeSettles    = time.Second
	maxTokenSeconds = 3600
	shownTargets    = 5
)

// Finding is what a doctor says of one promise.
type Finding struct {
	Check   string `json:"check"`
	State   State  `json:"state"`
	Message string `json:"message,omitempty"` // for people
}

// Examination is what a doctor found of one tier.
type Examination struct {
	Sandboxed bool      `json:"sandboxed"`
	Findings  []Finding `json:"findings"`
}

// Broken are the findings that do not hold.
func (e Examination) Broken() (broken []Finding) {
	for _, f := range e.Findings {
		if f.State == Broken {
			broken = append(broken, f)
		}
	}
	return broken
}

// State is that of a check; empty: nothing was said of it.
func (e Examination) State(check string) State {
	for _, f := range e.Findings {
		if f.Check == check {
			return f.State
		}
	}
	return ""
}

// Doctor runs a probe as the agent of a pod like any other, and says what holds in this
// cluster. Errors are those of Cluster: nothing was found out.
type Doctor interface {
	// Fingerprint changes with what makes an old examination say nothing any more: the
	// cluster, and how its pods are made.
	Fingerprint(ctx context.Context) (string, error)
	// Examine examines one tier.
	Examine(ctx context.Context, sandboxed bool) (Examination, error)
	// Tiers are those that are configured: whether they are sandboxed.
	Tiers() []bool
}

// Probed is what was seen of a probe.
type Probed struct {
	Sandboxed  bool
	Gateway    bool // there is one, and it was a target by the name TargetGateway
	Namespaced bool // pods are to have user namespaces
	NodeKernel string
	Lines      []agentruntime.ProbeReport
	Ended      bool
	Outcome    Outcome
}

// TargetGateway is the one target that is to be reached.
const TargetGateway = "gateway"

// Judge says what holds, by what was seen of a probe. It is pure. What was not seen is
// unknown, never taken for kept.
func Judge(p Probed) Examination {
	e := Examination{Sandboxed: p.Sandboxed}
	say := func(check string, state State, message string) {
		e.Findings = append(e.Findings, Finding{check, state, message})
	}
	var report agentruntime.ProbeReport
	for _, line := range p.Lines {
		report.Targets = append(report.Targets, line.Targets...)
		if line.Identity != nil {
			report.Identity = line.Identity
		}
		if line.Processes != nil {
			report.Processes = line.Processes
		}
		report.Survived = report.Survived || line.Survived
	}
	if report.Identity == nil {
		reason := "the probe did not report"
		if p.Ended {
			reason += ": " + string(p.Outcome.Reason) + " " + p.Outcome.Message
		}
		say(CheckProbe, Unknown, strings.TrimSpace(reason))
		return e
	}
	say(CheckProbe, Holds, "")
	judgeNetwork(report.Targets, p.Gateway, say)
	judgeIdentity(p, *report.Identity, say)
	judgeLimits(p, report, say)
	return e
}

type sayFunc func(check string, state State, message string)

func judgeNetwork(targets []agentruntime.ProbedTarget, gateway bool, say sayFunc) {
	var open, early []string
	attacked, reached := 0, false
	for _, t := range targets {
		if t.Name == TargetGateway {
			reached = reached || t.Reached > 0
			continue
		}
		attacked++
		if t.Reached == 0 {
			continue
		}
		text := fmt.Sprintf("%s (%s %s) from %d ms on", t.Name, t.Network, t.Address, t.FirstReached)
		early = append(early, text)
		if t.LastReached+probeSettles.Milliseconds() >= t.LastTry {
			open = append(open, text)
		}
	}
	of := func(check string, found []string) {
		switch {
		case len(found) > 0:
			say(check, Broken, "reached "+strings.Join(found[:min(len(found), shownTargets)], ", "))
		case attacked == 0:
			say(check, Unknown, "there was nothing to attack")
		default:
			say(check, Holds, fmt.Sprintf("%d addresses were attacked", attacked))
		}
	}
	of(CheckNetwork, open)
	of(CheckFirstPacket, early)
	switch {
	case gateway && reached:
		say(CheckGateway, Holds, "")
	case gateway:
		say(CheckGateway, Unknown, "the gateway does not answer; its runs would not either")
	}
}

func judgeIdentity(p Probed, i agentruntime.ProbedIdentity, say sayFunc) {
	judge := func(check string, ok bool, message string) {
		if ok {
			say(check, Holds, "")
			return
		}
		say(check, Broken, message)
	}
	if !p.Sandboxed || i.Seccomp == "2" { // a kernel of its own filters in another place
		judge(CheckSeccomp, i.Seccomp == "2", fmt.Sprintf("/proc/self/status says Seccomp: %q, not 2", i.Seccomp))
	}
	none := !slices.ContainsFunc(i.Capabilities, func(set string) bool { return strings.Trim(set, "0") != "" })
	judge(CheckPrivileges, len(i.Capabilities) > 0 && none && (i.NoNewPrivs == "1" || p.Sandboxed && i.NoNewPrivs == ""),
		fmt.Sprintf("capabilities %v, NoNewPrivs %q", i.Capabilities, i.NoNewPrivs))
	judge(CheckNonRoot, i.UID != 0 && i.GID != 0, fmt.Sprintf("the user is %d, the group %d", i.UID, i.GID))
	judge(CheckReadOnly, len(i.Written) == 0, "written: "+strings.Join(i.Written, ", "))
	switch {
	case len(i.OtherTokens) > 0:
		say(CheckToken, Broken, "credentials that should not be there: "+strings.Join(i.OtherTokens, ", "))
	case !p.Gateway:
		judge(CheckToken, len(i.Audiences) == 0, "there is a token and no gateway")
	default:
		judge(CheckToken, slices.Equal(i.Audiences, []string{GatewayAudience}) && 0 < i.TokenSeconds && i.TokenSeconds <= maxTokenSeconds,
			fmt.Sprintf("the token is for %q, and good for %d seconds", i.Audiences, i.TokenSeconds))
	}
	if p.Sandboxed {
		switch {
		case strings.Contains(i.Kernel, "gvisor"), p.NodeKernel != "" && i.Kernel != "" && i.Kernel != p.NodeKernel:
			say(CheckKernel, Holds, i.Kernel)
		case p.NodeKernel == "" || i.Kernel == "":
			say(CheckKernel, Unknown, "the kernel of the node could not be read")
		default:
			say(CheckKernel, Broken, "the kernel is that of the node: "+i.Kernel)
		}
	}
	if p.Namespaced { // without one there is nothing to say: it is promised nowhere
		judge(CheckUsers, i.UserMapped, "the users of the container are those of the node")
	}
}

func judgeLimits(p Probed, report agentruntime.ProbeReport, say sayFunc) {
	switch processes := report.Processes; {
	case processes == nil:
		say(CheckProcesses, Unknown, "the probe did not say; its pod: "+string(p.Outcome.Reason))
	case processes.Refused:
		say(CheckProcesses, Holds, fmt.Sprintf("%d processes were started", processes.Started))
	case processes.Limit > 0 && processes.Limit < 1<<16:
		say(CheckProcesses, Holds, fmt.Sprintf("the limit is %d", processes.Limit))
	case processes.Started < agentruntime.MaxProbeProcesses:
		say(CheckProcesses, Holds, fmt.Sprintf("the limit of memory ended it at %d processes", processes.Started))
	default:
		say(CheckProcesses, Broken, fmt.Sprintf("%d processes were started, and there is no limit (podPidsLimit of the kubelet)", processes.Started))
	}
	switch {
	case p.Ended && p.Outcome.Reason == ReasonAgentDisk:
		say(CheckDisk, Holds, "")
	case report.Survived:
		say(CheckDisk, Broken, "the probe wrote more than its limit, and nobody ended it")
	default:
		say(CheckDisk, Unknown, strings.TrimSpace("the probe ended otherwise: "+string(p.Outcome.Reason)+" "+p.Outcome.Message))
	}
}
