package marketplace

import "agentmarket/product"

// SubjectOf is what is asked of a claim by who starts a version with a request,
// on a platform with these limits and this policy.
func SubjectOf(v product.Version, req product.Request, limits product.Limits, policy Policy) Subject {
	s := Subject{
		Version: v.Number, Permissions: product.PermissionsOf(v.Manifest),
		Timeout: limits.RunTimeout(v, req), MaxCost: req.MaxCost,
	}
	if len(v.Manifest.Models) > 0 {
		s.Models = policy.ModelBudget
	}
	return s
}
