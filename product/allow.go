package product

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"agentmarket/fault"
)

// permissions are the manifest's, where every policy allows each of them.
func (r *resolution) permissions() {
	m := r.Version.Manifest
	r.plan.Tools = r.allow("tools", m.Tools, func(p Policy) []string { return p.Tools }, coversTool)
	r.plan.Models = r.allow("models", m.Models, func(p Policy) []string { return p.Models }, coversTool)
	r.plan.Secrets = r.allow("secrets", m.Secrets, func(p Policy) []string { return p.Secrets }, same)
	r.plan.SecretFiles = r.allow("secret_files", m.SecretFiles, func(p Policy) []string { return p.SecretFiles }, same)
	for i, name := range m.Secrets {
		if slices.Contains(r.MissingSecrets, name) {
			r.beyond = append(r.beyond, fault.Field{Pointer: fmt.Sprintf("/manifest/secrets/%d", i),
				Message: "asks for the secret " + name + ", which the organization does not have"})
		}
	}
	r.plan.Egress = r.allow("egress", m.Egress, func(p Policy) []string { return p.Egress }, coversHost)
}

// allow returns what a version asks for, and denies each entry that a list of a
// policy does not cover.
func (r *resolution) allow(field string, asked []string, listed func(Policy) []string, covers func(have, want string) bool) []string {
	var lists []string
	for _, p := range r.Policies {
		if listed(p) != nil {
			lists = append(lists, p.Rule())
		}
	}
	for i, want := range asked {
		refusing := slices.IndexFunc(r.Policies, func(p Policy) bool {
			return listed(p) != nil && !slices.ContainsFunc(listed(p), func(have string) bool { return covers(have, want) })
		})
		if refusing >= 0 {
			r.deny(fmt.Sprintf("/manifest/%s/%d", field, i), "%s does not allow %s in %s", r.Policies[refusing], want, field)
		}
	}
	detail := ""
	if len(asked) > 0 && len(lists) > 0 {
		detail = "allowed by " + strings.Join(lists, ", ")
	}
	r.explain(field, RuleManifest, detail)
	return asked
}

// coversTool reports whether an entry of a policy allows a tool or a model: it is it, or
// the beginning of its name and a *.
func coversTool(have, want string) bool {
	prefix, open := strings.CutSuffix(have, "*")
	return have == want || open && strings.HasPrefix(want, prefix)
}

// coversAgent reports whether one of several entries means an agent: it is its
// name, or its publisher's and /*.
func coversAgent(list []string, agent string) bool {
	publisher, _, _ := strings.Cut(agent, "/")
	return slices.Contains(list, agent) || slices.Contains(list, publisher+"/*")
}

// tier is the strongest that a policy asks for.
func (r *resolution) tier() {
	r.plan.Tier = TierStandard
	rule := RuleDefault
	for _, p := range r.Policies {
		if p.Tier != TierSandboxed || r.plan.Tier == TierSandboxed {
			continue
		}
		r.plan.Tier, rule = TierSandboxed, p.Rule()
		if !r.Limits.Sandboxed {
			r.deny("/tier", "%s asks for the sandboxed tier, and this platform has no sandboxed tier", p)
		}
	}
	if refusal := r.Limits.Tiers.Refusal(r.plan.Tier); refusal != "" {
		r.beyond = append(r.beyond, fault.Field{Pointer: "/tier", Message: "the " + string(r.plan.Tier) + " tier is refused: " + refusal})
	}
	r.explain("tier", rule, "")
}

// mode is that of the request, where every policy allows it.
func (r *resolution) mode() {
	r.plan.Mode = cmp.Or(r.Request.Mode, ModeAsync)
	rule := RuleRequest
	if r.Request.Mode == "" {
		rule = RuleDefault
	}
	for _, p := range r.Policies {
		if p.Modes != nil && !slices.Contains(p.Modes, r.plan.Mode) {
			r.deny("/mode", "%s does not allow the mode %s", p, r.plan.Mode)
		}
	}
	r.explain("mode", rule, "")
}

// approval says why a person has to approve the run. The rule is that of the first
// policy that asks for it.
func (r *resolution) approval() {
	rule := RuleDefault
	var reasons []string
	for _, p := range r.Policies {
		why := p.approval(r.Agent.FullName(), r.Right)
		if len(why) > 0 && len(reasons) == 0 {
			rule = p.Rule()
		}
		reasons = append(reasons, why...)
	}
	r.plan.Approval = strings.Join(reasons, "; ")
	r.explain("approval", rule, "")
}

// approval is why the policy wants a person to approve a run; empty: it does not.
func (p Policy) approval(agent string, right Right) (why []string) {
	if coversAgent(p.ApprovalAgents, agent) {
		why = append(why, fmt.Sprintf("%s asks for an approval of each run of %s", p, agent))
	}
	above, cost := p.ApprovalAbove, right.Budget
	switch {
	case above.Currency == "" || cost.Micros <= 0:
	case above.Currency != cost.Currency:
		why = append(why, fmt.Sprintf("%s asks for an approval above %s, and the run may cost %s: another currency counts as more", p, above, cost))
	case cost.Micros > above.Micros:
		why = append(why, fmt.Sprintf("%s asks for an approval above %s, and the run may cost %s", p, above, cost))
	}
	return why
}
