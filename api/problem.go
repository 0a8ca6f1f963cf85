package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"agentmarket/fault"
	"agentmarket/httpfault"
)

// problem is the body of every answer that is no success: a problem document
// (RFC 9457) with the members that this API adds.
type problem struct {
	Type      string         `json:"type" format:"uri" doc:"Names the problem: the code as an address."`
	Title     string         `json:"title" doc:"What the code means, the same in every occurrence."`
	Status    int            `json:"status" doc:"The HTTP status."`
	Detail    string         `json:"detail,omitempty" doc:"What is wrong this time, for people."`
	Instance  string         `json:"instance,omitempty" doc:"The path that was asked for."`
	Code      string         `json:"code" doc:"Stable and made for programs. The set may grow."`
	RequestID string         `json:"request_id" doc:"Quote it when you ask for help."`
	Errors    []fieldProblem `json:"errors,omitempty" doc:"Every wrong place of the request."`
	Next      string         `json:"next,omitempty" doc:"Where the missing right can be had."`
	RunStatus string         `json:"run_status,omitempty" doc:"With run_ended: the terminal state of the run."`

	headers http.Header
	cause   error // for operators
}

// fieldProblem is one wrong place.
type fieldProblem struct {
	Pointer string `json:"pointer" doc:"A JSON pointer into the body, or the name of a query parameter or header."`
	Message string `json:"message"`
}

// newProblem returns a problem that no kind of fault describes.
func newProblem(status int, code, detail string) *problem {
	title := http.StatusText(status)
	if entry, known := catalog[code]; known {
		title = entry.title
	}
	return &problem{
		Type: httpfault.Types + code, Title: title, Status: status, Detail: detail, Code: code,
		headers: http.Header{},
	}
}

// The interfaces of huma: an error that has a status, headers and a media type.
func (p *problem) Error() string             { return p.Code + ": " + p.Detail }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.headers }
func (p *problem) ContentType(string) string { return httpfault.ContentType }

// with sets a header of the answer.
func (p *problem) with(header, value string) *problem {
	p.headers.Set(header, value)
	return p
}

// problemFrom words any error. Texts of 5xx never leave the process: they are
// made for operators and may name what callers must not know.
func problemFrom(err error) *problem {
	var ready *problem
	if errors.As(err, &ready) {
		p := *ready
		p.headers = maps.Clone(p.headers)
		return &p
	}
	f := fault.From(err)
	status, known := httpfault.Status(f.Kind)
	if !known {
		f, status = fault.New(fault.Internal, "", ""), http.StatusInternalServerError
	}
	p := newProblem(status, f.Code, f.Message)
	switch f.Kind {
	case fault.Unavailable:
		p = newProblem(status, string(fault.Unavailable), "a part of the platform does not answer at the moment; try again").
			with("Retry-After", strconv.Itoa(httpfault.RetryAfterSeconds))
	case fault.Internal:
		p = newProblem(status, string(fault.Internal), "something unforeseen happened; it was logged under the request_id")
	case fault.RateLimited:
		p.with("Retry-After", strconv.Itoa(httpfault.RetryAfterSeconds))
	case fault.Unauthenticated:
		p.with("WWW-Authenticate", `Bearer realm="agentmarket", error="invalid_token"`)
	default:
		for _, field := range f.Fields {
			p.Errors = append(p.Errors, fieldProblem{Pointer: field.Pointer, Message: field.Message})
		}
	}
	p.cause = err
	return p
}

// problem is problemFrom for a request. What is the platform's fault is logged,
// unless it is only that the client has left.
func (a *app) problem(ctx context.Context, err error) *problem {
	p := problemFrom(err)
	r := requestOf(ctx)
	p.Instance, p.RequestID = r.path, r.id
	if p.Status >= http.StatusInternalServerError && ctx.Err() == nil {
		a.Log.ErrorContext(ctx, "request failed", "code", p.Code, "error", err, "request_id", r.id, "org_id", r.caller.OrgID)
	}
	return p
}

// fail answers with a problem, outside of huma's handlers.
func (a *app) fail(c *gin.Context, err error) {
	p := a.problem(c.Request.Context(), err)
	header := c.Writer.Header()
	maps.Copy(header, p.headers)
	header.Set("Content-Type", httpfault.ContentType)
	c.Writer.WriteHeader(p.Status)
	_ = writeJSON(c.Writer, p) // a client that has left
	c.Abort()
}

// problemOfHuma rewrites what huma says about parameters, the only thing that
// it validates by itself.
func (a *app) problemOfHuma(ctx huma.Context, _ string, v any) (any, error) {
	theirs, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := "request_invalid"
	if theirs.Status >= http.StatusInternalServerError {
		code = string(fault.Internal)
	}
	p := newProblem(theirs.Status, code, "the request is not valid")
	for _, e := range theirs.Errors {
		place, name, found := strings.Cut(e.Location, ".")
		if !found || place == "body" {
			// A number that the schema takes for whole and Go does not, 1.0.
			p.Errors = append(p.Errors, fieldProblem{Message: "has a value of the wrong form"})
			continue
		}
		p.Errors = append(p.Errors, fieldProblem{Pointer: name, Message: e.Message})
	}
	slices.SortFunc(p.Errors, func(a, b fieldProblem) int { return strings.Compare(a.Pointer, b.Pointer) })
	r := requestOf(ctx.Context())
	p.Instance, p.RequestID = r.path, r.id
	return p, nil
}

// writeJSON writes one JSON value without escaping for HTML.
func writeJSON(w interface{ Write([]byte) (int, error) }, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
