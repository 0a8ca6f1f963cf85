package api_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// world is a server with tenants that have one object of each kind.
type world struct {
	*fixture
	handler    http.Handler
	operations []operation
	byOperator string
}

// tenant is an organization with one object of each kind.
type tenant struct {
	org   marketplace.Organization
	owner string // token
	// values fill the parameters of paths, by name; an {id} by the literal
	// before it, as in runs/id.
	values map[string]string
	// texts must not be in answers to others: names and identifiers.
	texts []string
}

func newWorld(t *testing.T) *world {
	w := &world{fixture: newFixture(t)}
	var actions map[string]marketplace.Action
	w.handler, actions = w.server.HandlerWithActions()
	w.readOperations(actions)
	w.byOperator = w.operator()
	w.seller()
	w.must(http.MethodPut, "/v1/platform/policy", `{}`, w.byOperator)
	return w
}

// seller makes an organization that sells an agent to everybody.
func (w *world) seller() {
	_, token := w.organization("seller")
	const agent = "/v1/agents/seller/greeter"
	w.must(http.MethodPost, "/v1/agents", publication("1.0.0"), token)
	w.must(http.MethodPut, agent+"/listing", draft("public"), token)
	w.must(http.MethodPost, agent+"/prices", price, token)
	w.must(http.MethodPost, agent+"/listing/submit", "", token)
	w.must(http.MethodPost, "/v1/platform/listings/seller/greeter/approve", "", w.byOperator)
}

// tenant makes an organization with one object of each kind.
func (w *world) tenant(name string) *tenant {
	of := &tenant{values: map[string]string{"org": name, "publisher": name}}
	of.org, of.owner = w.organization(name)
	w.people(of)
	w.agent(of)
	w.money(of)
	w.bounds(of)
	of.texts = []string{`"` + name + `"`, `"` + name + "/", string(of.org.ID)}
	for _, value := range of.values {
		if kind, _, found := strings.Cut(value, "_"); found && kind != "" {
			of.texts = append(of.texts, value)
		}
	}
	return of
}

func (w *world) people(of *tenant) {
	organization := "/v1/organizations/" + of.org.Name
	member, _ := w.person(of.org.ID, "member@"+of.org.Name+".example.com", marketplace.RoleMember)
	of.values["user"] = string(member.User.ID)
	invitation := w.must(http.MethodPost, organization+"/invitations", `{"email":"invited@example.com","role":"member"}`, of.owner)
	of.values["invitations/id"] = textAt(invitation, "invitation", "id")
	of.values["team"] = textAt(w.must(http.MethodPost, organization+"/teams", `{"name":"research"}`, of.owner), "id")
	w.must(http.MethodPut, organization+"/teams/"+of.values["team"]+"/members/"+of.values["user"], "", of.owner)
	key := w.must(http.MethodPost, organization+"/api-keys", `{"name":"ci","role":"member","scopes":["runs:read"]}`, of.owner)
	of.values["api-keys/id"] = textAt(key, "api_key", "id")
	of.values["webhooks/id"] = textAt(w.must(http.MethodPost, organization+"/webhooks", webhook, of.owner), "webhook", "id")
	test := w.must(http.MethodPost, organization+"/webhooks/"+of.values["webhooks/id"]+"/test", "", of.owner)
	of.values["delivery"] = textAt(test, "id")
	of.values["secret"] = "TOKEN"
	w.must(http.MethodPut, organization+"/secrets/TOKEN", `{"value":"s3cr3t"}`, of.owner)
}

func (w *world) agent(of *tenant) {
	w.must(http.MethodPost, "/v1/agents", publication("1.0.0"), of.owner)
	agent := "/v1/agents/" + of.org.Name + "/greeter"
	of.values["name"], of.values["version"], of.values["channel"] = "greeter", "1.0.0", "beta"
	w.must(http.MethodPut, agent+"/channels/beta", `{"version":"1.0.0"}`, of.owner)
	w.must(http.MethodPost, "/v1/agents", publication("0.9.0"), of.owner)
	rollout := w.must(http.MethodPost, agent+"/rollouts", `{"version":"1.0.0","from":"0.9.0","channel":"canary","stages":[{"percent":10}]}`, of.owner)
	of.values["rollouts/id"] = textAt(rollout, "id")
	w.must(http.MethodPut, agent+"/listing", draft("private"), of.owner)
	of.values["prices/id"] = textAt(w.must(http.MethodPost, agent+"/prices", price, of.owner), "id")
	of.values["grants/id"] = textAt(w.must(http.MethodPost, agent+"/grants", `{"organization":"seller","access":"view"}`, of.owner), "id")
	of.values["schedules/id"] = textAt(w.must(http.MethodPost, "/v1/organizations/"+of.org.Name+"/schedules", schedule(of.org.Name), of.owner), "id")
	of.values["runs/id"] = textAt(w.must(http.MethodPost, agent+"/runs", `{"input":{"prompt":"hello"}}`, of.owner), "id")
}

// money buys the seller's agent, and runs and reviews it.
func (w *world) money(of *tenant) {
	const agent = "/v1/agents/seller/greeter"
	of.values["artifact"] = "report.txt"
	of.values["month"], of.values["scope"] = "2026-11", "month"
	paid := w.must(http.MethodPost, "/v1/platform/organizations/"+of.org.Name+"/credits", credit, w.byOperator)
	of.values["transactions/id"] = textAt(paid, "id")
	of.values["top-ups/id"] = textAt(w.must(http.MethodPost, "/v1/organizations/"+of.org.Name+"/top-ups", `{"amount":`+dollar+`}`, of.owner), "id")
	order := w.must(http.MethodPost, "/v1/orders", `{"agent":"seller/greeter"}`, of.owner)
	of.values["orders/id"], of.values["entitlements/id"] = textAt(order, "id"), textAt(order, "entitlement_id")
	run := ids.Run(textAt(w.must(http.MethodPost, agent+"/runs", `{"input":{"prompt":"hello"}}`, of.owner), "id"))
	w.begin(run, 1)
	w.settle(run, product.ReasonOK, "")
	of.values["reviews/id"] = textAt(w.must(http.MethodPut, agent+"/reviews", review, of.owner), "id")
}

// bounds sets policies and limits that keep nothing from running.
func (w *world) bounds(of *tenant) {
	organization := "/v1/organizations/" + of.org.Name
	team := organization + "/teams/" + of.values["team"]
	for _, path := range []string{organization, team, organization + "/agents/" + of.org.Name + "/greeter"} {
		w.must(http.MethodPut, path+"/policy", `{}`, of.owner)
	}
	of.values["server"], of.values["approval"] = "desk", string(ids.New[ids.ToolApproval](ids.PrefixToolApproval))
	w.must(http.MethodPut, organization+"/tool-servers/desk", toolServer, of.owner)
	w.must(http.MethodPut, "/v1/platform/tool-servers/desk", toolServer, w.byOperator)
}

// caller is a person in a role, whose own second key is the key of the tenant; or
// an operator, who is a program.
func (w *world) caller(of *tenant, role marketplace.Role) caller {
	if !role.OfOrganization() {
		return caller{role: role, token: w.roleKey(of.org.ID, role)}
	}
	_, token := w.person(of.org.ID, "caller@"+of.org.Name+".example.com", role)
	own := w.must(http.MethodPost, "/v1/organizations/"+of.org.Name+"/api-keys", `{"personal":true}`, token)
	of.values["api-keys/id"] = textAt(own, "api_key", "id")
	return caller{role: role, token: token, isPerson: true}
}

// narrowKeys are keys of a role that lack one scope each.
func (w *world) narrowKeys(of *tenant, role marketplace.Role) map[marketplace.Scope]string {
	without := map[marketplace.Scope]string{}
	for _, left := range scopesOf(marketplace.RoleOperator) {
		rest := slices.DeleteFunc(scopesOf(marketplace.RoleOperator), func(s marketplace.Scope) bool { return s == left })
		without[left] = w.key(of.org.ID, func(k *marketplace.APIKey) { k.Role = role }, rest...)
	}
	return without
}

// path puts objects of a tenant into the path of a call.
func (w *world) path(t *testing.T, op operation, of *tenant) string {
	t.Helper()
	path := op.path
	for _, p := range parameters(op) {
		value, known := of.values[p.name]
		if p.name == "publisher" && ofTheSeller[op.id] {
			value = "seller"
		}
		require.True(t, known, "the world has no %s for %s %s", p.name, op.method, op.path)
		path = strings.Replace(path, p.text, value, 1)
	}
	return path
}

// pathParameter is a parameter of a path, {user}, and its name in a tenant. That
// of an {id} is made with the literal before it: runs/id.
type pathParameter struct{ text, name string }

func parameters(op operation) (found []pathParameter) {
	literal := ""
	for part := range strings.SplitSeq(op.path, "/") {
		name, isParameter := strings.CutPrefix(part, "{")
		if !isParameter {
			literal = part
			continue
		}
		if name = strings.TrimSuffix(name, "}"); name == "id" {
			name = literal + "/id"
		}
		found = append(found, pathParameter{part, name})
	}
	return found
}

// identifiers are the parameters of a path that name an object within an
// organization, beside those that name the organization.
func identifiers(op operation) (names []string) {
	all := parameters(op)
	for _, p := range all {
		if p.name == "user" || p.name == "team" || p.name == "delivery" || strings.HasSuffix(p.name, "/id") && len(all) > 1 {
			names = append(names, p.name)
		}
	}
	return names
}

// body is a valid body of a call.
func (w *world) body(t *testing.T, op operation, of *tenant) string {
	t.Helper()
	if !op.hasBody {
		return ""
	}
	write, known := bodies[op.id]
	require.True(t, known, "the world has no body for %s", op.id)
	return write(of)
}

// call makes a call on objects of a tenant.
func (w *world) call(t *testing.T, op operation, token string, of *tenant) answer {
	t.Helper()
	path := w.path(t, op, of)
	got := w.serve(t, op.method, path, w.body(t, op, of), token)
	if got.status >= http.StatusBadRequest {
		require.Empty(t, w.description().undocumented(t, op.method, path, got), "add it to the problems of the route")
	}
	return got
}

// serve makes a request without a connection.
func (w *world) serve(t *testing.T, method, path, body, token string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	return answer{recorder.Code, recorder.Header(), recorder.Body.String()}
}

// must makes a request that succeeds, and returns its answer.
func (w *world) must(method, path, body, token string) map[string]any {
	w.t.Helper()
	got := w.serve(w.t, method, path, body, token)
	require.Less(w.t, got.status, http.StatusBadRequest, "%s %s: %s", method, path, got.text)
	return got.json(w.t)
}

// textAt is a text within an answer.
func textAt(got map[string]any, path ...string) string {
	for _, name := range path[:len(path)-1] {
		got = got[name].(map[string]any)
	}
	return got[path[len(path)-1]].(string)
}

func (w *world) ids() []string {
	list := make([]string, len(w.operations))
	for i, op := range w.operations {
		list[i] = op.id
	}
	return list
}
