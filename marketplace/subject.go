package marketplace

import "agentmarket/product"

// SubjectOf is what is asked of a claim by who starts a version with a request,
// on a platform with these limits.
func SubjectOf(v product.Version, req product.Request, limits product.Limits) Subject {
	return Subject{
		Version: v.Number, Permissions: product.PermissionsOf(v.Manifest),
		Timeout: limits.RunTimeout(v, req), MaxCost: req.MaxCost,
	}
}
