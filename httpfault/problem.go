package httpfault

import (
	"encoding/json"
	"net/http"
	"strconv"

	"agentmarket/fault"
)

// problem is the body of an answer that is no success (RFC 9457).
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Code   string         `json:"code"`
	Errors []fieldProblem `json:"errors,omitempty"`
}

type fieldProblem struct {
	Pointer string `json:"pointer"`
	Message string `json:"message"`
}

// WriteToAgent answers an agent's call with an error. What kinds Internal and
// Unavailable say is for operators: their texts never reach an agent.
func WriteToAgent(w http.ResponseWriter, err error) {
	f := fault.From(err)
	status, known := Status(f.Kind)
	switch {
	case !known || f.Kind == fault.Internal:
		f, status = fault.New(fault.Internal, "", "something unforeseen happened"), http.StatusInternalServerError
	case f.Kind == fault.Unavailable:
		f = fault.New(fault.Unavailable, "", "a part of the platform does not answer at the moment; try again")
	}
	if f.Kind == fault.Unavailable || f.Kind == fault.RateLimited {
		w.Header().Set("Retry-After", strconv.Itoa(RetryAfterSeconds))
	}
	code := f.Code
	if code == "" {
		code = string(f.Kind)
	}
	p := problem{Type: Types + code, Title: http.StatusText(status), Status: status, Detail: f.Message, Code: code}
	for _, field := range f.Fields {
		p.Errors = append(p.Errors, fieldProblem{field.Pointer, field.Message})
	}
	w.Header().Set("Content-Type", ContentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p) // whoever hangs up misses the answer
}
