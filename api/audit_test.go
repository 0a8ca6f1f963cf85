package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/marketplace"
)

const auditLog = "/v1/organizations/acme/audit-log"

// auditAll selects every entry that a test writes.
var auditAll = audit.Query{Limit: 1000}

// TestAuditLog makes each change that this file's calls can make, and compares
// what the log says about it: who, what, before, after, in which request.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	bob, _ := f.person(f.org.ID, "bob@example.com", marketplace.RoleMember)
	me := f.get("/v1/me").json(t)["api_key"].(map[string]any)["id"].(string)
	var changes []string
	do := func(method, path, body, token string) answer {
		t.Helper()
		request := fmt.Sprintf("change-%d", len(changes)+1)
		got := f.do(call{method: method, path: path, body: body, token: token, noToken: token == "none",
			header: map[string]string{"X-Request-Id": request}})
		require.Less(t, got.status, 300, got.text)
		changes = append(changes, request)
		return got
	}
	// Names take the place of identifiers that differ from test to test.
	names := strings.NewReplacer()
	known := []string{me, "KEY", string(bob.User.ID), "BOB", string(f.org.ID), "ACME"}
	learn := func(id, name string) {
		known = append(known, id, name)
		names = strings.NewReplacer(known...)
	}

	invited := do(http.MethodPost, invitations, `{"email":"ada@example.com","role":"admin"}`, "").json(t)
	learn(invited["invitation"].(map[string]any)["id"].(string), "INVITATION")
	accepted := do(http.MethodPost, acceptance, `{"token":"`+invited["token"].(string)+`","name":"Ada"}`, "none").json(t)
	ada := accepted["member"].(map[string]any)["user_id"].(string)
	adas := accepted["api_key"].(map[string]any)
	learn(ada, "ADA")
	learn(adas["id"].(string), "ADAS-KEY")
	learn(adas["prefix"].(string), "PREFIX-1")
	hers := accepted["token"].(string)
	again := do(http.MethodPost, invitations, `{"email":"eve@example.com","role":"member"}`, hers)
	learn(again.json(t)["invitation"].(map[string]any)["id"].(string), "INVITATION-2")
	do(http.MethodDelete, again.header.Get("Location"), "", hers)
	do(http.MethodPatch, members+"/"+string(bob.User.ID), `{"role":"publisher"}`, hers)
	team := do(http.MethodPost, "/v1/organizations/acme/teams", `{"name":"art"}`, hers)
	learn(team.json(t)["id"].(string), "TEAM")
	do(http.MethodPut, team.header.Get("Location")+"/members/"+string(bob.User.ID), "", hers)
	do(http.MethodDelete, team.header.Get("Location")+"/members/"+string(bob.User.ID), "", hers)
	do(http.MethodDelete, team.header.Get("Location"), "", hers)
	key := do(http.MethodPost, keys, `{"name":"ci","role":"member","scopes":["runs:read"]}`, "")
	learn(key.json(t)["api_key"].(map[string]any)["id"].(string), "CI")
	learn(key.json(t)["api_key"].(map[string]any)["prefix"].(string), "PREFIX-2")
	next := do(http.MethodPost, key.header.Get("Location")+"/rotate", `{"overlap_seconds":60}`, "")
	learn(next.json(t)["api_key"].(map[string]any)["id"].(string), "CI-2")
	learn(next.json(t)["api_key"].(map[string]any)["prefix"].(string), "PREFIX-3")
	do(http.MethodDelete, next.header.Get("Location"), "", "")
	do(http.MethodDelete, members+"/"+ada, "", "")

	const adasKey = `{"user_id":"ADA","role":"admin","name":"personal key","prefix":"PREFIX-1","scopes":[ALL]%s}`
	const ci = `{"role":"member","name":"ci","prefix":"PREFIX-%d","scopes":["runs:read"]%s}`
	want := []string{
		`change-1 key KEY invitation.create INVITATION - {"email":"ada@example.com","role":"admin","expires_at":"2026-11-29T12:00:00Z"}`,
		`change-2 user ADA member.add ADA - {"email":"ada@example.com","name":"Ada","role":"admin"}`,
		`change-2 user ADA key.create ADAS-KEY - ` + fmt.Sprintf(adasKey, ""),
		`change-2 user ADA invitation.accept INVITATION {"email":"ada@example.com","role":"admin","expires_at":"2026-11-29T12:00:00Z"} ` +
			`{"email":"ada@example.com","role":"admin","expires_at":"2026-11-29T12:00:00Z","accepted_at":"2026-11-22T12:00:00Z"}`,
		`change-3 user ADA invitation.create INVITATION-2 - {"email":"eve@example.com","role":"member","expires_at":"2026-11-29T12:00:00Z"}`,
		`change-4 user ADA invitation.revoke INVITATION-2 {"email":"eve@example.com","role":"member","expires_at":"2026-11-29T12:00:00Z"} ` +
			`{"email":"eve@example.com","role":"member","expires_at":"2026-11-29T12:00:00Z","revoked_at":"2026-11-22T12:00:00Z"}`,
		`change-5 user ADA member.set_role BOB {"email":"bob@example.com","name":"Ada Lovelace","role":"member"} ` +
			`{"email":"bob@example.com","name":"Ada Lovelace","role":"publisher"}`,
		`change-6 user ADA team.create TEAM - {"name":"art"}`,
		`change-7 user ADA team.add_member TEAM - {"name":"art","user_id":"BOB"}`,
		`change-8 user ADA team.remove_member TEAM {"name":"art","user_id":"BOB"} -`,
		`change-9 user ADA team.delete TEAM {"name":"art"} -`,
		`change-10 key KEY key.create CI - ` + fmt.Sprintf(ci, 2, ""),
		`change-11 key KEY key.rotate CI ` + fmt.Sprintf(ci, 2, "") + ` ` + fmt.Sprintf(ci, 2, `,"expires_at":"2026-11-22T12:01:00Z","rotated_to":"CI-2"`),
		`change-11 key KEY key.create CI-2 - ` + fmt.Sprintf(ci, 3, ""),
		`change-12 key KEY key.revoke CI-2 ` + fmt.Sprintf(ci, 3, "") + ` ` + fmt.Sprintf(ci, 3, `,"revoked_at":"2026-11-22T12:00:00Z"`),
		`change-13 key KEY key.revoke ADAS-KEY ` + fmt.Sprintf(adasKey, "") + ` ` + fmt.Sprintf(adasKey, `,"revoked_at":"2026-11-22T12:00:00Z"`),
		`change-13 key KEY member.remove ADA {"email":"ada@example.com","name":"Ada","role":"admin"} -`,
	}
	all, err := json.Marshal(marketplace.AllScopes())
	require.NoError(t, err)
	var got []string
	for _, item := range f.requireStatus(http.StatusOK, f.get(auditLog+"?limit=200"))["items"].([]any) {
		e := item.(map[string]any)
		if e["request_id"] == nil {
			continue // before the test began
		}
		actor := e["actor"].(map[string]any)
		require.Equal(t, string(f.org.ID), actor["organization_id"])
		require.Equal(t, "2026-11-22T12:00:00Z", e["at"])
		line := fmt.Sprintf("%s %s %s %s %s", e["request_id"], actor["kind"], actor["id"], e["action"], e["subject"])
		got = append([]string{names.Replace(line + " " + raw(t, e["before"]) + " " + raw(t, e["after"]))}, got...)
	}
	for i := range want {
		want[i] = normal(t, strings.ReplaceAll(want[i], "[ALL]", string(all)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("want (-), got (+):\n%s", diff)
	}
}

// raw is a value as JSON with sorted members, or a hyphen for none.
func raw(t *testing.T, v any) string {
	t.Helper()
	if v == nil {
		return "-"
	}
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// normal sorts the members of the JSON in a line.
func normal(t *testing.T, line string) string {
	t.Helper()
	fields := strings.SplitN(line, " ", 6)
	decoder := json.NewDecoder(strings.NewReader(strings.ReplaceAll(strings.ReplaceAll(fields[5], "- ", "null "), " -", " null")))
	var before, after any
	require.NoError(t, decoder.Decode(&before), line)
	require.NoError(t, decoder.Decode(&after), line)
	return strings.Join(append(fields[:5], raw(t, before), raw(t, after)), " ")
}

func TestAuditLogIsFiltered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ada, hers := f.person(f.org.ID, "ada@example.com", marketplace.RoleAdmin)
	f.clock.advance(time.Minute)
	team := f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/organizations/acme/teams", `{"name":"art"}`, hers))["id"].(string)
	f.clock.advance(time.Minute)
	f.requireStatus(http.StatusCreated, f.post("/v1/organizations/acme/teams", `{"name":"research"}`))
	for query, want := range map[string][]string{
		"action=team.create":                           {"team.create", "team.create"},
		"subject=" + team:                              {"team.create"},
		"actor=" + string(ada.User.ID):                 {"team.create"},
		"created_after=2026-11-22T12:01:30Z":           {"team.create"},
		"created_before=2026-11-22T12:00:30Z":          {"key.create", "member.add", "key.create", "organization.create"},
		"action=team.create&actor=usr_1":               {},
		"limit=1":                                      {"team.create"},
		"action=key.create&subject=" + team:            {},
		"created_after=2026-11-22T12:00:30Z&limit=200": {"team.create", "team.create"},
	} {
		require.Equal(t, want, f.items(f.get(auditLog+"?"+query), "action"), query)
	}
	first := f.requireStatus(http.StatusOK, f.get(auditLog+"?limit=2"))
	require.Equal(t, []string{"key.create", "member.add"}, f.items(f.get(auditLog+"?limit=2&cursor="+first["next_cursor"].(string)), "action"))
	for query, pointer := range map[string]string{
		"created_after=yesterday": "created_after", "created_before=1": "created_before", "limit=201": "limit", "who=me": "who",
		"action=" + strings.Repeat("x", 65): "action",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.get(auditLog+"?"+query), pointer)
	}
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(auditLog+"?cursor=x"), "cursor")
}

// TestAuditLogOfAnOperator says who came from outside, and is read from there.
func TestAuditLogOfAnOperator(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.operator()
	me := f.send(http.MethodGet, "/v1/me", "", operator).json(t)
	got := f.do(call{method: http.MethodPost, path: "/v1/platform/organizations", body: `{"name":"globex"}`, token: operator,
		header: map[string]string{"X-Request-Id": "founding"}})
	token := f.requireStatus(http.StatusCreated, got)["token"].(string)
	const path = "/v1/organizations/globex/audit-log"
	require.Equal(t, []string{"key.create", "organization.create"}, f.items(f.send(http.MethodGet, path, "", token), "action"))
	for _, reader := range []string{token, operator} {
		for _, item := range f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", reader))["items"].([]any) {
			e := item.(map[string]any)
			require.Equal(t, "founding", e["request_id"])
			require.Equal(t, map[string]any{
				"kind": "operator", "id": me["api_key"].(map[string]any)["id"], "organization_id": me["organization"].(map[string]any)["id"],
			}, e["actor"])
		}
	}
	f.requireCode(http.StatusNotFound, "organization_not_found", f.get(path))
}

// TestAuditLogIsReadOnly: there is no call that changes it.
func TestAuditLogIsReadOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		require.Equal(t, http.StatusMethodNotAllowed, f.send(method, auditLog, "", f.operator()).status)
		require.Equal(t, http.StatusNotFound, f.send(method, auditLog+"/aud_01jd3m0f9zq4x8v5c7n2b6k1ta", "", f.operator()).status)
	}
}
