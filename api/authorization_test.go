package api_test

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

// TestAuthorization makes every call of the API in every role, on objects of the
// own tenant and of a foreign one, and compares the answers with the table of
// marketplace:
//
//   - without a key: 401, unless the call is public;
//   - in a role that may not do the call's action: exactly 403, role_missing;
//   - with a key that lacks the action's scope: exactly 403, scope_missing;
//   - in a role that may: whatever the call has to say about an object that is
//     there;
//   - on an object of a foreign tenant: 404, as if it were not there, and also
//     where the path says that it is the own tenant's.
//
// A call whose path or body the tables of authorization_world_test.go do not know
// fails: add its object there.
func TestAuthorization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := w.tenant("foreign")
	for _, op := range w.operations {
		t.Run("nobody/"+op.id, func(t *testing.T) { w.withoutKey(t, op, foreign) })
	}
	for _, role := range marketplace.Roles() {
		own := w.tenant("own-" + string(role))
		by, without := w.caller(own, role), w.narrowKeys(own, role)
		for _, op := range w.operations {
			if op.action == "" {
				continue
			}
			t.Run(string(role)+"/"+op.id, func(t *testing.T) {
				w.withoutScope(t, op, role, without[op.action.Scope()], own)
				w.abroad(t, op, by, foreign)
				w.smuggled(t, op, by, own, foreign)
				w.atHome(t, op, by, own, foreign)
			})
		}
	}
}

// operation is a call of the OpenAPI document.
type operation struct {
	id, method, path string
	hasBody          bool
	action           marketplace.Action // empty: everybody may
}

// readOperations finds all calls. Those that remove something are last, inner
// objects before outer ones, so that each call finds its object.
func (w *world) readOperations(actions map[string]marketplace.Action) {
	document, _ := w.spec()
	for path, methods := range document.Paths {
		for method, op := range methods {
			o := operation{
				id: op.OperationID, method: strings.ToUpper(method), path: path, hasBody: op.RequestBody != nil,
				action: actions[op.OperationID],
			}
			if o.id == "schedule-job" {
				o.action = marketplace.ActRunsStart // with a key; without one only from this computer
			}
			require.Equal(w.t, o.action == "", len(*op.Security) == 0, "%s is public by its description", o.id)
			w.operations = append(w.operations, o)
		}
	}
	order := []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete}
	slices.SortFunc(w.operations, func(a, b operation) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.method), slices.Index(order, b.method)),
			cmp.Compare(strings.Count(b.path, "/"), strings.Count(a.path, "/")),
			cmp.Compare(a.id, b.id),
		)
	})
	require.Subset(w.t, w.ids(), slices.Collect(maps.Keys(actions)))
}

// withoutKey: nobody is let in who does not say who he is.
func (w *world) withoutKey(t *testing.T, op operation, of *tenant) {
	got := w.call(t, op, "", of)
	if op.action == "" {
		require.NotEqual(t, http.StatusUnauthorized, got.status, got.text)
		require.NotEqual(t, http.StatusForbidden, got.status, got.text)
		return
	}
	require.Equal(t, http.StatusUnauthorized, got.status, got.text)
	require.Equal(t, "key_missing", got.json(t)["code"])
}

// withoutScope: a key does nothing that it was not given, whatever its role may.
func (w *world) withoutScope(t *testing.T, op operation, role marketplace.Role, token string, own *tenant) {
	got := w.call(t, op, token, own)
	code := "scope_missing"
	if !role.Allows(op.action) {
		code = "role_missing"
	}
	require.Equal(t, http.StatusForbidden, got.status, got.text)
	require.Equal(t, code, got.json(t)["code"])
}

// atHome: the role decides, and the call finds its object. What it answers is
// about the own organization only.
func (w *world) atHome(t *testing.T, op operation, by caller, own, foreign *tenant) {
	got := w.call(t, op, by.token, own)
	if !decided(t, op, by, got) {
		return
	}
	reached(t, op, got)
	if !by.everywhere(op) {
		for _, text := range foreign.texts {
			require.NotContains(t, got.text, text)
		}
	}
}

// abroad: what belongs to another tenant does not exist. Calls that name nothing
// are about the caller's own organization.
func (w *world) abroad(t *testing.T, op operation, by caller, foreign *tenant) {
	if !strings.Contains(op.path, "{") && !namesInBody[op.id] {
		return
	}
	got := w.call(t, op, by.token, foreign)
	switch {
	case !decided(t, op, by, got):
	case by.everywhere(op):
		reached(t, op, got)
	default:
		require.Equal(t, http.StatusNotFound, got.status, got.text)
		code := got.json(t)["code"].(string)
		require.True(t, strings.HasSuffix(code, "_not_found") && code != "route_not_found", code)
		asked := w.path(t, op, foreign) + w.body(t, op, foreign)
		for _, text := range foreign.texts {
			if !strings.Contains(asked, text) {
				require.NotContains(t, got.text, text, "the answer tells what was not asked for")
			}
		}
	}
}

// smuggled: a foreign object does not exist within the own organization either.
func (w *world) smuggled(t *testing.T, op operation, by caller, own, foreign *tenant) {
	if !by.role.Allows(op.action) {
		return
	}
	for _, name := range identifiers(op) {
		mixed := *own
		mixed.values = maps.Clone(own.values)
		mixed.values[name] = foreign.values[name]
		got := w.call(t, op, by.token, &mixed)
		require.Equal(t, http.StatusNotFound, got.status, "foreign %s: %s", name, got.text)
	}
}

// decided checks an answer against the table, and reports whether the caller may.
func decided(t *testing.T, op operation, by caller, got answer) bool {
	t.Helper()
	allowed := by.role.Allows(op.action)
	if nested, asked := nestedActions[op.id]; asked && !by.isPerson {
		allowed = allowed && by.role.Allows(nested)
	}
	if !allowed {
		require.Equal(t, http.StatusForbidden, got.status, got.text)
		require.Equal(t, "role_missing", got.json(t)["code"], got.text)
	}
	return allowed
}

// reached checks that an allowed call got as far as its object: the request was
// understood, and the object is there.
func reached(t *testing.T, op operation, got answer) {
	t.Helper()
	require.Less(t, got.status, http.StatusInternalServerError, got.text)
	if got.status < http.StatusBadRequest {
		return
	}
	code := got.json(t)["code"].(string)
	require.NotEqual(t, http.StatusUnauthorized, got.status, got.text)
	require.NotContains(t, []string{"role_missing", "scope_missing", "request_invalid", "malformed_json"}, code, got.text)
	if got.status == http.StatusNotFound {
		require.Equal(t, absentAnyway[op.id], code, got.text)
	}
}

// caller is who makes the calls of a role: a person, or, where no person can
// have the role, a program.
type caller struct {
	role     marketplace.Role
	token    string
	isPerson bool
}

// everywhere reports whether the caller reaches every organization by a call.
func (c caller) everywhere(op operation) bool {
	return c.role == marketplace.RoleOperator && slices.ContainsFunc(
		[]string{"/v1/organizations/", "/v1/platform/", "/v1/transactions/"},
		func(prefix string) bool { return strings.HasPrefix(op.path, prefix) })
}
