package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

const keys = "/v1/organizations/acme/api-keys"

// made is a key that a call made.
type made struct {
	path, id, token string
	body            map[string]any
}

func (f *fixture) madeKey(got answer) made {
	f.t.Helper()
	body := f.requireStatus(http.StatusCreated, got)
	key := body["api_key"].(map[string]any)
	m := made{path: got.header.Get("Location"), id: key["id"].(string), token: body["token"].(string), body: key}
	require.Equal(f.t, keys+"/"+m.id, m.path)
	return m
}

func (f *fixture) works(token string) bool {
	f.t.Helper()
	return f.send(http.MethodGet, "/v1/me", "", token).status == http.StatusOK
}

func TestProgramKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := f.madeKey(f.post(keys, `{"name":"ci","role":"publisher","scopes":["organization:read","runs:write"],"expires_at":"2026-11-22T13:00:00Z"}`))
	want := map[string]any{
		"id": key.id, "name": "ci", "prefix": key.token[4:16], "role": "publisher", "scopes": []any{"organization:read", "runs:write"},
		"status": "active", "created_at": "2026-11-22T12:00:00Z", "expires_at": "2026-11-22T13:00:00Z",
		"urls": map[string]any{"self": key.path},
	}
	require.Equal(t, want, key.body)
	require.Equal(t, want, f.requireStatus(http.StatusOK, f.get(key.path)))
	require.True(t, f.works(key.token))
	f.requireCode(http.StatusForbidden, "scope_missing", f.send(http.MethodGet, "/v1/runs", "", key.token))
	f.requireCode(http.StatusForbidden, "role_missing", f.send(http.MethodGet, "/v1/organizations/acme/audit-log", "", key.token))

	require.Contains(t, f.items(f.get(keys), "id"), key.id)
	first := f.requireStatus(http.StatusOK, f.get(keys+"?limit=1"))
	require.Equal(t, []string{"test"}, f.items(f.get(keys+"?limit=1&cursor="+first["next_cursor"].(string)), "name"))

	f.clock.advance(time.Hour)
	f.requireCode(http.StatusUnauthorized, "key_expired", f.send(http.MethodGet, "/v1/me", "", key.token))
	require.Equal(t, "expired", f.get(key.path).json(t)["status"])
}

func TestUseOfAKeyIsShown(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := f.madeKey(f.post(keys, `{"name":"ci","role":"member","scopes":["organization:read"]}`))
	require.True(t, f.works(key.token))
	require.Eventually(t, func() bool { // it is recorded beside the request
		return f.get(key.path).json(t)["last_used_at"] == "2026-11-22T12:00:00Z"
	}, 5*time.Second, 10*time.Millisecond)
}

// TestNobodyGivesMoreThanHeHas is every role that makes a key of every role.
func TestNobodyGivesMoreThanHeHas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, role := range marketplace.Roles() {
		by := f.roleKey(f.org.ID, role)
		for _, given := range marketplace.Roles() {
			got := f.send(http.MethodPost, keys, fmt.Sprintf(`{"name":"x","role":%q,"scopes":["runs:read"]}`, given), by)
			switch {
			case given == marketplace.RoleOperator:
				f.requireCode(http.StatusUnprocessableEntity, "request_invalid", got, "/role")
			case !role.Allows(marketplace.ActKeysManage):
				f.requireCode(http.StatusForbidden, "role_missing", got)
			case role.MayGive(given):
				require.Equal(t, string(given), f.madeKey(got).body["role"])
			default:
				f.requireCode(http.StatusForbidden, "rights_exceeded", got, "/role")
			}
		}
	}
	narrow := f.key(f.org.ID, nil, marketplace.ScopeOrgRead, marketplace.ScopeOrgWrite)
	f.requireCode(http.StatusForbidden, "rights_exceeded",
		f.send(http.MethodPost, keys, `{"name":"x","role":"member","scopes":["organization:read","billing:read","runs:write"]}`, narrow),
		"/scopes/1", "/scopes/2")
	f.madeKey(f.send(http.MethodPost, keys, `{"name":"x","role":"member","scopes":["organization:read"]}`, narrow))
	reader := f.key(f.org.ID, nil, marketplace.ScopeOrgRead)
	f.requireCode(http.StatusForbidden, "scope_missing",
		f.send(http.MethodPost, keys, `{"name":"x","role":"member","scopes":["organization:read"]}`, reader))
}

func TestCreateKeyBounds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, person := f.person(f.org.ID, "ada@example.com", marketplace.RoleOwner)
	const rest = `"role":"member","scopes":["runs:read"]`
	for body, pointers := range map[string][]string{
		`{}`:                           {"/name", "/role", "/scopes"},
		`{"name":"x"}`:                 {"/role", "/scopes"},
		`{"name":"",` + rest + `}`:     {"/name"},
		`{"name":" ",` + rest + `}`:    {"/name"},
		`{"name":"a\tb",` + rest + `}`: {"/name"},
		`{"name":"` + strings.Repeat("x", 101) + `",` + rest + `}`:         {"/name"},
		`{"name":"x","role":"root","scopes":["runs:read"]}`:                {"/role"},
		`{"name":"x","role":"operator","scopes":["runs:read"]}`:            {"/role"},
		`{"name":"x","role":"member","scopes":[]}`:                         {"/scopes"},
		`{"name":"x","role":"member","scopes":["runs:all"]}`:               {"/scopes/0"},
		`{"name":"x","role":"owner","scopes":["platform"]}`:                {"/scopes/0"},
		`{"name":"x","role":"member","scopes":["runs:read","runs:read"]}`:  {"/scopes"},
		`{"name":"x",` + rest + `,"expires_at":"tomorrow-at-ten-o-clock"}`: {"/expires_at"},
		`{"name":"x",` + rest + `,"expires_at":"2026-11-22T12:00:00Z"}`:    {"/expires_at"},
		`{"name":"x",` + rest + `,"user_id":"usr_x"}`:                      {"/user_id"},
		`{"personal":true,"role":"owner"}`:                                 {"/role"},
		`{"personal":true,"name":"a\tb"}`:                                  {"/name"},
		`{"personal":"yes"}`:                                               {"/personal"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, keys, body, person), pointers...)
	}
}

func TestPersonalKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, role := range marketplace.Roles() {
		if !role.OfOrganization() {
			continue
		}
		member, token := f.person(f.org.ID, string(role)+"@example.com", role)
		key := f.madeKey(f.send(http.MethodPost, keys, `{"personal":true}`, token))
		require.Equal(t, []any{"personal key", string(role), string(member.User.ID)},
			[]any{key.body["name"], key.body["role"], key.body["user_id"]}, role)
		require.Len(t, key.body["scopes"], len(marketplace.AllScopes()))
		require.True(t, f.works(key.token), role)
		narrow := f.madeKey(f.send(http.MethodPost, keys, `{"personal":true,"name":"laptop","scopes":["organization:read"]}`, key.token))
		require.Equal(t, []any{"organization:read"}, narrow.body["scopes"])
		f.requireCode(http.StatusForbidden, "rights_exceeded",
			f.send(http.MethodPost, keys, `{"personal":true,"scopes":["organization:read","runs:read"]}`, narrow.token), "/scopes/1")
		require.Equal(t, []any{"organization:read"}, f.madeKey(f.send(http.MethodPost, keys, `{"personal":true}`, narrow.token)).body["scopes"])
	}
	f.requireCode(http.StatusForbidden, "person_required", f.post(keys, `{"personal":true}`))
	f.requireCode(http.StatusForbidden, "person_required", f.send(http.MethodPost, keys, `{"personal":true}`, f.operator()))
}

func TestForeignKeysDoNotExist(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, stranger := f.organization("stranger")
	id := f.send(http.MethodGet, "/v1/me", "", stranger).json(t)["api_key"].(map[string]any)["id"].(string)
	for _, absent := range []string{id, "key_1", "key_01jd3m0f9zq4x8v5c7n2b6k1ta", string(f.org.ID)} {
		f.requireCode(http.StatusNotFound, "key_not_found", f.get(keys+"/"+absent))
		f.requireCode(http.StatusNotFound, "key_not_found", f.send(http.MethodDelete, keys+"/"+absent, "", ""))
		f.requireCode(http.StatusNotFound, "key_not_found", f.post(keys+"/"+absent+"/rotate", ""))
	}
	for _, path := range []string{keys, keys + "/" + id} {
		f.requireCode(http.StatusNotFound, "organization_not_found", f.send(http.MethodGet, path, "", stranger))
	}
	require.True(t, f.works(stranger))
}

// TestSecretsAreShownOnce looks for secrets wherever they do not belong.
func TestSecretsAreShownOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.madeKey(f.post(keys, `{"name":"ci","role":"owner","scopes":["organization:read","audit:read"]}`))
	second := f.madeKey(f.send(http.MethodPost, first.path+"/rotate", "", ""))
	invited := f.post(invitations, `{"email":"ada@example.com","role":"owner"}`).json(t)["token"].(string)
	accepted := f.requireStatus(http.StatusCreated, f.accept(invited, "Ada"))["token"].(string)
	byOperator := f.send(http.MethodPost, "/v1/platform/organizations", `{"name":"globex"}`, f.operator()).json(t)["token"].(string)

	var seen strings.Builder
	for _, path := range []string{"/v1/me", keys, first.path, second.path, invitations, members, "/v1/organizations/acme/audit-log"} {
		seen.WriteString(f.get(path).text)
	}
	seen.WriteString(f.send(http.MethodGet, "/v1/organizations/globex/audit-log", "", f.operator()).text)
	seen.WriteString(f.log.String())
	entries, err := f.market.Audit(t.Context(), f.org.ID, auditAll)
	require.NoError(t, err)
	text, err := json.Marshal(entries)
	require.NoError(t, err)
	seen.Write(text)
	for _, token := range []string{first.token, second.token, invited, accepted, byOperator} {
		secret := token[strings.LastIndexByte(token, '_')+1:]
		require.Len(t, secret, 40)
		require.NotContains(t, seen.String(), secret)
	}
	require.NotContains(t, strings.ToLower(seen.String()), "hash")
	require.Contains(t, f.items(f.get(keys), "prefix"), first.token[4:16])
}
