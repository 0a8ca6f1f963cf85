package api

// routePlatform registers the calls of operators.
func (a *app) routePlatform() {
	a.routePlatformOrganizations()
	a.routeReviewDesk()
	a.routePlatformBilling()
	a.routePlatformPolicies()
	a.routePlatformLimits()
	a.routeDoctor()
	a.routePlatformToolServers()
}
