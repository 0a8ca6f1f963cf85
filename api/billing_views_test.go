package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

// Who of the platform credited a wallet is no concern of its organization.
func TestWhoMadeACreditIsShownToOperators(t *testing.T) {
	f := newFixture(t)
	f.credit("acme", 10)
	list := f.requireStatus(http.StatusOK, f.get("/v1/organizations/acme/transactions"))["items"].([]any)
	require.Len(t, list, 1)
	credit := list[0].(map[string]any)
	require.NotContains(t, credit, "created_by")
	path := "/v1/transactions/" + credit["id"].(string)
	require.NotContains(t, f.requireStatus(http.StatusOK, f.get(path)), "created_by")
	require.NotEmpty(t, f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", f.operator()))["created_by"])
}

// What one person may spend is for her, and for those who set it.
func TestLimitsLeaveOutThoseOfOtherPeople(t *testing.T) {
	f := newFixture(t)
	ada, adas := f.person(f.org.ID, "ada@acme.test", marketplace.RoleAdmin)
	_, bobs := f.person(f.org.ID, "bob@acme.test", marketplace.RoleAuditor)
	const limit = `{"amount":{"amount_micros":5000000,"currency":"USD"}}`
	for _, scope := range []string{"month", "user", "user?user=" + string(ada.User.ID)} {
		f.requireStatus(http.StatusOK, f.send(http.MethodPut, "/v1/organizations/acme/spend-limits/"+scope, limit, ""))
	}
	for name, tt := range map[string]struct {
		token string
		want  int
	}{"hers": {adas, 3}, "somebody else": {bobs, 2}, "a program": {"", 2}} {
		body := f.requireStatus(http.StatusOK, f.send(http.MethodGet, "/v1/organizations/acme/limits", "", tt.token))
		require.Len(t, body["spend"], tt.want, name)
	}
}

func TestCreditLimitIsBounded(t *testing.T) {
	f := newFixture(t)
	operator := f.operator()
	const path = "/v1/platform/organizations/acme/credit-limit"
	for micros, ok := range map[string]bool{"1000000000000000000": true, "1000000000000000001": false, "-1": false} {
		got := f.send(http.MethodPut, path, `{"credit":{"amount_micros":`+micros+`,"currency":"USD"}}`, operator)
		if ok {
			f.requireStatus(http.StatusOK, got)
		} else {
			f.requireCode(http.StatusUnprocessableEntity, "request_invalid", got, "/credit/amount_micros")
		}
	}
}
