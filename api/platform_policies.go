package api

import (
	"context"
	"net/http"

	"agentmarket/marketplace"
	"agentmarket/product"
)

type setPlatformPolicyInput struct {
	Body PolicyRules
}

func (a *app) routePlatformPolicies() {
	const path = "/v1/platform/policy"
	handle(a, route{
		id: "get-platform-policy", method: http.MethodGet, path: path, tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		summary: "Get the policy of the platform", problems: []string{"policy_not_found"},
	}, getPolicy(a, platformPolicy))
	handle(a, route{
		id: "set-platform-policy", method: http.MethodPut, path: path, tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		summary: "Set the policy of the platform, for every organization", description: narrows + "What is absent says nothing.",
		problems: []string{"policy_invalid"},
	}, a.setPlatformPolicy)
	handle(a, route{
		id: "delete-platform-policy", method: http.MethodDelete, path: path, tag: tagPlatform, action: marketplace.ActPlatformPolicies,
		status: http.StatusNoContent, summary: "Remove the policy of the platform", problems: []string{"policy_not_found"},
	}, deletePolicy(a, platformPolicy))
}

func platformPolicy(context.Context, *struct{}) (policyOwner, error) {
	return policyOwner{scope: product.PolicyScope{Kind: product.ScopePlatform}}, nil
}

func (a *app) setPlatformPolicy(ctx context.Context, in *setPlatformPolicyInput) (*policyAnswer, error) {
	owner, err := platformPolicy(ctx, nil)
	if err != nil {
		return nil, err
	}
	return a.setPolicy(ctx, owner, in.Body)
}
