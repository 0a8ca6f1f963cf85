package product

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/money"
)

// The bounds of a policy.
const (
	MaxPolicyEntries  = 200 // of each list
	MaxPolicyDuration = 365 * 24 * time.Hour
	MaxRetention      = 10 * MaxPolicyDuration
	MaxPolicyCPU      = 1_000_000 // thousandths of a core
	MaxPolicyWarm     = 20        // for each kind of run
	MaxPolicyMiB      = 16 << 20  // 16 TiB, of memory and of disk
)

// agentEntry is publisher/name or publisher/*; toolPrefix and modelPrefix are the
// beginning of a name and a *.
var (
	agentEntry  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?/([a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?|\*)$`)
	toolPrefix  = regexp.MustCompile(`^([a-z0-9][a-z0-9._/-]{0,126})?\*$`)
	modelPrefix = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._:/-]{0,98})?\*$`)
)

// Check returns fault.Invalid, policy_invalid, with every field that is wrong.
func (p Policy) Check() error {
	var f policyFindings
	f.resources("/max_resources", p.MaxResources)
	f.resources("/default_resources", p.DefaultResources)
	f.duration("/max_run_seconds", p.MaxRun, MaxPolicyDuration)
	f.duration("/max_queue_seconds", p.MaxQueue, MaxPolicyDuration)
	f.duration("/default_run_seconds", p.DefaultRun, MaxPolicyDuration)
	f.duration("/default_queue_seconds", p.DefaultQueue, MaxPolicyDuration)
	f.duration("/keep_input_seconds", p.KeepInput, MaxRetention)
	f.duration("/keep_output_seconds", p.KeepOutput, MaxRetention)
	f.duration("/keep_log_seconds", p.KeepLog, MaxRetention)
	f.check(0 <= p.Warm && p.Warm <= MaxPolicyWarm, "/warm", "must be 0 to %d", MaxPolicyWarm)
	f.list("/agents", p.Agents, agentEntry.MatchString, "must be publisher/name or publisher/*")
	f.list("/approval_agents", p.ApprovalAgents, agentEntry.MatchString, "must be publisher/name or publisher/*")
	f.list("/tools", p.Tools, func(entry string) bool { return agentruntime.ValidTool(entry) || toolPrefix.MatchString(entry) },
		"must be the name of a tool, or the beginning of one and *")
	f.list("/models", p.Models, func(entry string) bool { return agentruntime.ValidModel(entry) || modelPrefix.MatchString(entry) },
		"must be the name of a model, or the beginning of one and *")
	f.list("/secrets", p.Secrets, agentruntime.ValidSecret, "must be the name of a secret")
	f.list("/secret_files", p.SecretFiles, agentruntime.ValidSecret, "must be the name of a secret")
	f.list("/egress", p.Egress, agentruntime.ValidEgress, "must be a host as in manifests: api.example.com, *.example.com or api.example.com:443")
	f.check(p.Tier == "" || p.Tier == TierStandard || p.Tier == TierSandboxed, "/tier", "must be %s or %s", TierStandard, TierSandboxed)
	f.check(len(p.Modes) <= MaxPolicyEntries, "/modes", "must have at most %d entries", MaxPolicyEntries)
	for i, mode := range p.Modes[:min(len(p.Modes), MaxPolicyEntries)] {
		f.check(slices.Contains([]Mode{ModeAsync, ModeSync}, mode), fmt.Sprintf("/modes/%d", i), "must be %s or %s", ModeAsync, ModeSync)
	}
	above := p.ApprovalAbove
	f.check(above == (money.Amount{}) || money.ValidCurrency(above.Currency), "/approval_above/currency", "must be three upper-case letters (ISO 4217)")
	f.check(0 <= above.Micros && above.Micros <= money.MaxMicros, "/approval_above/amount_micros", "must be 0 to %d", int64(money.MaxMicros))
	if len(f) > 0 {
		return fault.New(fault.Invalid, "policy_invalid", "the policy is not valid").WithFields(f...)
	}
	return nil
}

// policyFindings are the fields of a policy that are wrong.
type policyFindings []fault.Field

func (f *policyFindings) check(ok bool, pointer, format string, args ...any) {
	if !ok {
		*f = append(*f, fault.Field{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
	}
}

func (f *policyFindings) resources(at string, r Resources) {
	for _, one := range resources {
		f.check(0 <= one.of(r) && one.of(r) <= one.most, at+"/"+one.name, "must be 0 to %d", one.most)
	}
}

func (f *policyFindings) duration(at string, d, most time.Duration) {
	f.check(0 <= d && d <= most, at, "must be 0 to %d", int64(most/time.Second))
}

func (f *policyFindings) list(at string, entries []string, valid func(string) bool, message string) {
	f.check(len(entries) <= MaxPolicyEntries, at, "must have at most %d entries", MaxPolicyEntries)
	for i, entry := range entries[:min(len(entries), MaxPolicyEntries)] {
		f.check(valid(entry), fmt.Sprintf("%s/%d", at, i), "%s", message)
	}
}
