package api

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"agentmarket/httpfault"

	"agentmarket/marketplace"
)

// access says who may make a call.
type access int

const (
	withKey   access = iota // a caller who may do the route's action
	smokeTest               // a key, or nothing on this computer
	public                  // everybody
)

// route is a call of the API, with everything that its description needs and
// that the types do not say.
type route struct {
	id, method, path string
	tag              string
	summary          string
	description      string

	access access
	action marketplace.Action

	// status of the usual success and alsoStatus of another one with the same
	// body (204 has none). 0: 200, and no other.
	status     int
	alsoStatus int
	// content of a success that is no JSON object, by media type.
	content map[string]*huma.MediaType
	// problems are the codes that this call adds to those that every call has.
	problems []string

	// optionalBody lets a POST come without a body.
	optionalBody bool
	// anyQuery leaves unknown query parameters to the handler.
	anyQuery bool
	// parameters that the types cannot say.
	parameters []*huma.Param
}

// handle registers a call. Errors of the handler become problems here.
func handle[I, O any](a *app, r route, do func(context.Context, *I) (*O, error)) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	op := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Tags: []string{r.tag},
		Summary: r.summary, Description: r.description, DefaultStatus: r.status,
		Parameters:                   r.parameters,
		Responses:                    r.responses(),
		RejectUnknownQueryParameters: !r.anyQuery,
		// Bodies are read and validated before, see readBody.
		SkipValidateBody: true, MaxBodyBytes: -1, BodyReadTimeout: -1,
	}
	switch r.access {
	case withKey:
		op.Middlewares = append(op.Middlewares, a.authorize(r.action))
		op.Security = []map[string][]string{{securityScheme: {string(r.action.Scope())}}}
		a.actions[r.id] = r.action
	case smokeTest:
		op.Middlewares = append(op.Middlewares, a.authorizeSmokeTest)
		op.Security = []map[string][]string{{securityScheme: {string(marketplace.ActRunsStart.Scope())}}, {}}
	case public:
		op.Security = []map[string][]string{}
	}
	op.Middlewares = append(op.Middlewares, a.once)
	if r.hasBody() {
		if _, has := reflect.TypeFor[I]().FieldByName("Body"); !has {
			r.optionalBody, op.RequestBody = true, a.emptyBody()
		}
		op.Middlewares = append(op.Middlewares, a.readBody(!r.optionalBody))
	}
	huma.Register(a.spec, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, err)
		}
		return out, nil
	})
	if r.alsoStatus != 0 {
		also, usual := op.Responses[strconv.Itoa(r.alsoStatus)], op.Responses[strconv.Itoa(r.status)]
		also.Headers = usual.Headers
		if r.alsoStatus != http.StatusNoContent {
			also.Content = usual.Content
		}
	}
}

// hasBody reports whether the call reads a body.
func (r route) hasBody() bool {
	return r.method == http.MethodPost || r.method == http.MethodPut || r.method == http.MethodPatch
}

// emptyRequest is the body of a call that needs none: nothing, or {}.
type emptyRequest struct{}

func (a *app) emptyBody() *huma.RequestBody {
	schema := a.spec.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[emptyRequest](), true, "")
	return &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

// codes are all problems that a call may answer with.
func (r route) codes() []string {
	codes := []string{"internal"}
	if r.access != public {
		codes = append(codes, "key_missing", "key_invalid", "key_expired", "role_missing", "scope_missing",
			"rate_limited", "unavailable", "request_invalid")
	}
	if r.hasBody() {
		codes = append(codes, "malformed_json", "body_too_large", "media_type_unsupported", "request_invalid")
	}
	codes = append(codes, r.problems...)
	slices.Sort(codes)
	return slices.Compact(codes)
}

// responses describes the answers; huma adds the schema of the success.
func (r route) responses() map[string]*huma.Response {
	success := func(status int) *huma.Response {
		headers := map[string]*huma.Param{headerRequestID: header("Names the request; sent back where the caller sent one.")}
		if r.access != public {
			maps.Copy(headers, rateLimitHeaders())
		}
		response := &huma.Response{Description: http.StatusText(status), Headers: headers}
		if status != http.StatusNoContent {
			response.Content = r.content
		}
		return response
	}
	responses := map[string]*huma.Response{strconv.Itoa(r.status): success(r.status)}
	if r.alsoStatus != 0 {
		responses[strconv.Itoa(r.alsoStatus)] = success(r.alsoStatus)
	}
	for _, code := range r.codes() {
		described, known := catalog[code]
		if !known {
			panic("code " + code + " of " + r.id + " is not in the catalog")
		}
		status := strconv.Itoa(described.status)
		if responses[status] == nil {
			responses[status] = problemResponse(described.status)
		}
		responses[status].Content[httpfault.ContentType].Examples[code] = &huma.Example{
			Summary: described.title, Value: exampleProblem(code, described),
		}
	}
	return responses
}

func problemResponse(status int) *huma.Response {
	headers := map[string]*huma.Param{headerRequestID: header("Names the request.")}
	switch status {
	case http.StatusUnauthorized:
		headers["WWW-Authenticate"] = header("How to authenticate (RFC 6750).")
	case http.StatusTooManyRequests:
		maps.Copy(headers, rateLimitHeaders())
		headers["Retry-After"] = header("Seconds to wait.")
	case http.StatusServiceUnavailable:
		headers["Retry-After"] = header("Seconds to wait.")
	}
	return &huma.Response{
		Description: http.StatusText(status), Headers: headers,
		Content: map[string]*huma.MediaType{httpfault.ContentType: {
			Schema:   &huma.Schema{Ref: schemaPrefix + problemSchema},
			Examples: map[string]*huma.Example{},
		}},
	}
}

// exampleProblem is a plain map: a *problem is an error, and huma would print
// what errors say.
func exampleProblem(code string, e entry) map[string]any {
	return map[string]any{
		"type": httpfault.Types + code, "title": e.title, "status": e.status, "code": code,
		"request_id": "req_01jd3m0f9zq4x8v5c7n2b6k1ta",
	}
}

func rateLimitHeaders() map[string]*huma.Param {
	return map[string]*huma.Param{
		"RateLimit-Limit":     header("How many requests may come at once."),
		"RateLimit-Remaining": header("How many are left."),
		"RateLimit-Reset":     header("Seconds until all are back."),
	}
}

func header(meaning string) *huma.Param {
	return &huma.Param{Description: meaning, Schema: &huma.Schema{Type: huma.TypeString}}
}
