package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

func TestRotation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := f.madeKey(f.post(keys, `{"name":"ci","role":"member","scopes":["organization:read"],"expires_at":"2027-01-01T00:00:00Z"}`))
	next := f.madeKey(f.send(http.MethodPost, old.path+"/rotate", `{"overlap_seconds":3600}`, old.token))
	require.NotEqual(t, old.id, next.id)
	for _, member := range []string{"name", "role", "scopes", "expires_at", "status"} {
		require.Equal(t, old.body[member], next.body[member], member)
	}
	shown := f.get(old.path).json(t)
	require.Equal(t, []any{next.id, "2026-11-22T13:00:00Z"}, []any{shown["rotated_to"], shown["expires_at"]})
	require.True(t, f.works(old.token) && f.works(next.token))
	f.requireCode(http.StatusConflict, "key_state", f.send(http.MethodPost, old.path+"/rotate", "", old.token))
	f.clock.advance(time.Hour - time.Second)
	require.True(t, f.works(old.token))
	f.clock.advance(time.Second)
	require.False(t, f.works(old.token))
	require.True(t, f.works(next.token))

	third := f.madeKey(f.send(http.MethodPost, next.path+"/rotate", "", f.token))
	f.clock.advance(marketplace.DefaultOverlap - time.Second)
	require.True(t, f.works(next.token))
	f.clock.advance(time.Second)
	require.False(t, f.works(next.token))
	f.madeKey(f.send(http.MethodPost, third.path+"/rotate", `{"overlap_seconds":0}`, f.token))
	require.False(t, f.works(third.token))

	for body, pointer := range map[string]string{
		`{"overlap_seconds":-1}`: "/overlap_seconds", `{"overlap_seconds":2592001}`: "/overlap_seconds",
		`{"overlap_seconds":"1"}`: "/overlap_seconds", `{"role":"owner"}`: "/role",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, old.path+"/rotate", body, ""), pointer)
	}
	f.requireCode(http.StatusConflict, "key_state", f.send(http.MethodPost, third.path+"/rotate", "", ""))
}

func TestRotationKeepsAnEarlierEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := f.madeKey(f.post(keys, `{"name":"ci","role":"member","scopes":["runs:read"],"expires_at":"2026-11-22T12:30:00Z"}`))
	next := f.madeKey(f.send(http.MethodPost, old.path+"/rotate", "", ""))
	require.Equal(t, []any{"2026-11-22T12:30:00Z", "2026-11-22T12:30:00Z"}, []any{f.get(old.path).json(t)["expires_at"], next.body["expires_at"]})
	f.clock.advance(30 * time.Minute)
	f.requireCode(http.StatusConflict, "key_state", f.send(http.MethodPost, next.path+"/rotate", "", ""))
}

// TestWhoEndsWhichKey is every role at the key of every role, and at its own.
func TestWhoEndsWhichKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.person(f.org.ID, "first@example.com", marketplace.RoleOwner)
	for _, role := range marketplace.Roles() {
		by := f.roleKey(f.org.ID, role)
		for _, owner := range marketplace.Roles() {
			for _, personal := range []bool{false, true} {
				if personal && !owner.OfOrganization() {
					continue
				}
				var token string
				if personal {
					_, token = f.person(f.org.ID, fmt.Sprintf("%s-%s@example.com", role, owner), owner)
				} else {
					token = f.roleKey(f.org.ID, owner)
				}
				path := keys + "/" + f.send(http.MethodGet, "/v1/me", "", token).json(t)["api_key"].(map[string]any)["id"].(string)
				name := fmt.Sprintf("%s at the key of %s, personal: %v", role, owner, personal)
				rotated := f.send(http.MethodPost, path+"/rotate", "", by)
				revoked := f.send(http.MethodDelete, path, "", by)
				code := func(got answer) string { return fmt.Sprint(got.json(t)["code"]) }
				switch {
				case !role.Allows(marketplace.ActKeysManage):
					require.Equal(t, []string{"role_missing", "role_missing"}, []string{code(rotated), code(revoked)}, name)
				case !role.MayGive(owner):
					require.Equal(t, []string{"rights_exceeded", "rights_exceeded"}, []string{code(rotated), code(revoked)}, name)
				default:
					require.Equal(t, http.StatusNoContent, revoked.status, name)
					require.False(t, f.works(token), name)
					if personal {
						require.Equal(t, "rights_exceeded", code(rotated), name+": nobody gets the key of somebody else")
					} else {
						f.madeKey(rotated)
					}
					continue
				}
				require.True(t, f.works(token), name)
			}
		}
		mine := keys + "/" + f.send(http.MethodGet, "/v1/me", "", by).json(t)["api_key"].(map[string]any)["id"].(string)
		next := f.madeKey(f.send(http.MethodPost, mine+"/rotate", "", by))
		require.Equal(t, string(role), next.body["role"])
		require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, mine, "", by).status, role)
		require.False(t, f.works(by), role)
		require.True(t, f.works(next.token), role)
	}
}

func TestRotationGivesNoScopes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	narrow := f.key(f.org.ID, nil, marketplace.ScopeOrgRead, marketplace.ScopeOrgWrite)
	wide := f.madeKey(f.post(keys, `{"name":"x","role":"member","scopes":["organization:read","runs:write"]}`))
	f.requireCode(http.StatusForbidden, "rights_exceeded", f.send(http.MethodPost, wide.path+"/rotate", "", narrow))
	_, hers := f.person(f.org.ID, "ada@example.com", marketplace.RoleMember)
	small := f.madeKey(f.send(http.MethodPost, keys, `{"personal":true,"scopes":["organization:read"]}`, hers))
	large := f.send(http.MethodGet, "/v1/me", "", hers).json(t)["api_key"].(map[string]any)["id"].(string)
	f.requireCode(http.StatusForbidden, "rights_exceeded", f.send(http.MethodPost, keys+"/"+large+"/rotate", "", small.token))
	f.madeKey(f.send(http.MethodPost, small.path+"/rotate", "", hers))
	require.True(t, f.works(hers))
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	key := f.madeKey(f.post(keys, `{"name":"ci","role":"member","scopes":["organization:read"]}`))
	for range 2 {
		require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, key.path, "", "").status)
		f.requireCode(http.StatusUnauthorized, "key_invalid", f.send(http.MethodGet, "/v1/me", "", key.token))
	}
	shown := f.get(key.path).json(t)
	require.Equal(t, []any{"revoked", "2026-11-22T12:00:00Z"}, []any{shown["status"], shown["revoked_at"]})
	f.requireCode(http.StatusConflict, "key_state", f.send(http.MethodPost, key.path+"/rotate", "", ""))
}
