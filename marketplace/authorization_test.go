package marketplace_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/marketplace"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAuthorization compares every role × every action with the table in
// testdata, as Require answers it for a key that has every scope.
func TestAuthorization(t *testing.T) {
	roles := marketplace.Roles()
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "action\tscope")
	for _, r := range roles {
		fmt.Fprintf(w, "\t%s", r)
	}
	for _, a := range marketplace.Actions() {
		fmt.Fprintf(w, "\n%s\t%s", a, a.Scope())
		for _, r := range roles {
			p := marketplace.Principal{Role: r, Scopes: append(marketplace.AllScopes(), marketplace.ScopePlatform)}
			answer := "yes"
			if err := p.Require(a); err != nil {
				denied(t, err, fault.Forbidden, "role_missing")
				answer = "-"
			}
			fmt.Fprintf(w, "\t%s", answer)
		}
	}
	require.NoError(t, w.Flush())
	var got strings.Builder
	for line := range strings.Lines(table.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}

	const file = "testdata/authorization.txt"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(string(want), got.String()), "%s; run with -update where the change is meant", file)
}

// reading are the actions that change nothing.
var reading = []marketplace.Action{
	marketplace.ActAgentsRead, marketplace.ActRunsRead, marketplace.ActBillingRead, marketplace.ActOrganizationRead,
	marketplace.ActAuditRead, marketplace.ActPlatformRead,
}

func TestWhatRolesNeverMay(t *testing.T) {
	for _, a := range marketplace.Actions() {
		platform := strings.HasPrefix(string(a), "platform.")
		require.Equal(t, platform, a.Scope() == marketplace.ScopePlatform, "%s: the scope of operators is for their actions", a)
		for _, r := range marketplace.Roles() {
			if platform {
				require.Equal(t, r == marketplace.RoleOperator, r.Allows(a), "%s may %s", r, a)
			}
		}
		// Its own key is no object of the organization's.
		if !slices.Contains(reading, a) && a != marketplace.ActKeysRotate {
			require.False(t, marketplace.RoleAuditor.Allows(a), "an auditor changes nothing: %s", a)
		}
		// Roles of organizations only ever add to one another.
		for _, smaller := range [][2]marketplace.Role{
			{marketplace.RoleMember, marketplace.RolePublisher},
			{marketplace.RolePublisher, marketplace.RoleAdmin},
			{marketplace.RoleAuditor, marketplace.RoleAdmin},
			{marketplace.RoleAdmin, marketplace.RoleOwner},
		} {
			if smaller[0].Allows(a) {
				require.True(t, smaller[1].Allows(a), "%s may %s, and so may %s", smaller[0], a, smaller[1])
			}
		}
	}
	require.False(t, marketplace.RoleOperator.Allows(marketplace.ActRunsRead), "operators do not look into runs of tenants")
	for _, r := range marketplace.Roles() {
		require.False(t, r.Allows("no.such.action"), r)
	}
	for _, a := range marketplace.Actions() {
		require.False(t, marketplace.Role("").Allows(a), a)
		require.False(t, marketplace.Role("root").Allows(a), a)
	}
}

func TestEveryScopeIsUsedAndGiven(t *testing.T) {
	used := map[marketplace.Scope]bool{}
	for _, a := range marketplace.Actions() {
		used[a.Scope()] = true
		require.NotEmpty(t, a.Scope(), a)
	}
	for _, s := range marketplace.AllScopes() {
		require.True(t, used[s], "nothing needs the scope %s", s)
	}
	require.NotContains(t, marketplace.AllScopes(), marketplace.ScopePlatform, "an organization's first key is no operator's")
	require.Len(t, used, len(marketplace.AllScopes())+1, "a scope is missing from the first key of an organization")
}

func TestOperatorsHaveEveryScopeThatTheyNeed(t *testing.T) {
	needed := map[marketplace.Scope]bool{}
	for _, a := range marketplace.Actions() {
		if marketplace.RoleOperator.Allows(a) {
			needed[a.Scope()] = true
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(needed)), marketplace.OperatorScopes())
}

func TestScopesNarrowARole(t *testing.T) {
	for _, a := range marketplace.Actions() {
		for _, r := range marketplace.Roles() {
			if !r.Allows(a) {
				continue
			}
			others := slices.DeleteFunc(append(marketplace.AllScopes(), marketplace.ScopePlatform),
				func(s marketplace.Scope) bool { return s == a.Scope() })
			p := marketplace.Principal{Role: r, Scopes: others}
			denied(t, p.Require(a), fault.Forbidden, "scope_missing", "%s %s", r, a)
			p.Scopes = []marketplace.Scope{a.Scope()}
			require.NoError(t, p.Require(a), "%s %s", r, a)
		}
	}
}

func TestMayGive(t *testing.T) {
	gives := map[marketplace.Role][]marketplace.Role{
		marketplace.RoleOwner: {
			marketplace.RoleOwner, marketplace.RoleAdmin, marketplace.RolePublisher, marketplace.RoleMember, marketplace.RoleAuditor,
		},
		marketplace.RoleAdmin: {
			marketplace.RoleAdmin, marketplace.RolePublisher, marketplace.RoleMember, marketplace.RoleAuditor,
		},
	}
	roles := append(marketplace.Roles(), "", "root")
	for _, r := range roles {
		for _, other := range roles {
			require.Equal(t, slices.Contains(gives[r], other), r.MayGive(other), "%q gives %q", r, other)
			if !r.MayGive(other) {
				continue
			}
			for _, a := range marketplace.Actions() { // nobody gives what he has not got
				require.True(t, !other.Allows(a) || r.Allows(a), "%s gives %s, which may %s", r, other, a)
			}
		}
	}
}

func TestOfOrganization(t *testing.T) {
	for _, r := range marketplace.Roles() {
		require.Equal(t, r != marketplace.RoleOperator, r.OfOrganization(), r)
	}
	require.False(t, marketplace.Role("").OfOrganization())
	require.False(t, marketplace.Role("root").OfOrganization())
}

func TestPrincipalReachesItsOwnOrganization(t *testing.T) {
	for _, r := range marketplace.Roles() {
		p := marketplace.Principal{OrgID: "org_1", Role: r}
		require.True(t, p.Reaches("org_1"), r)
		require.Equal(t, r == marketplace.RoleOperator, p.Reaches("org_2"), r)
	}
}

func TestPrincipalInTheAuditLog(t *testing.T) {
	p := marketplace.Principal{OrgID: "org_1", KeyID: "key_1", Role: marketplace.RoleAdmin}
	require.Equal(t, audit.Actor{Kind: audit.KindKey, ID: "key_1", Org: "org_1", RequestID: "req_1"}, p.Actor("req_1"))
	p.UserID = "usr_1"
	require.Equal(t, audit.Actor{Kind: audit.KindUser, ID: "usr_1", Org: "org_1", RequestID: "req_1"}, p.Actor("req_1"))
	p.Role = marketplace.RoleOperator
	require.Equal(t, audit.Actor{Kind: audit.KindOperator, ID: "key_1", Org: "org_1", RequestID: "req_1"}, p.Actor("req_1"))
}

func TestPrincipalAsViewer(t *testing.T) {
	key := marketplace.APIKey{OrgID: "org_1", ID: "key_1", UserID: "usr_1", Role: marketplace.RoleMember,
		Teams: teams("team_1"), Scopes: marketplace.AllScopes()}
	require.Equal(t, marketplace.Viewer{OrgID: "org_1", UserID: "usr_1", Teams: teams("team_1")}, key.Principal().Viewer())
}
