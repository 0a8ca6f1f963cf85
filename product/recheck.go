package product

import (
	"agentmarket/agentruntime"
	"agentmarket/fault"
)

// Recheck asks the policies of a run, as they are now, about a plan that was made
// before. It is pure. What they do not allow any more is what [Resolve] says of a
// run that they do not allow: fault.Forbidden with the reason code policy_denied.
//
// The plan stays as it is. What only narrows a plan, deadlines, retention and what
// callers get who name nothing, is for later ones; so is an approval.
func (p Plan) Recheck(agent Agent, policies []Policy) error {
	again, err := Resolve(Question{
		Agent: agent, Policies: policies,
		Version: Version{Manifest: agentruntime.Manifest{
			Resources: agentruntime.Resources(p.Resources), Tools: p.Tools, Models: p.Models, Secrets: p.Secrets, SecretFiles: p.SecretFiles, Egress: p.Egress,
		}},
		Request: Request{Mode: p.Mode},
		Limits:  Limits{Resources: p.Resources, Sandboxed: true}, // policies alone are asked
	})
	if err != nil {
		return err
	}
	if again.Tier == TierSandboxed && p.Tier != TierSandboxed {
		return fault.New(fault.Forbidden, string(ReasonPolicyDenied),
			"a policy does not allow the run: it asks for the sandboxed tier, and the run was planned for the standard one").
			WithFields(fault.Field{Pointer: "/tier", Message: "is standard"})
	}
	return nil
}
