package models

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"agentmarket/fault"
	"agentmarket/httpfault"
)

// refusal is an answer that is no success.
type refusal struct {
	status  int
	code    string // stable
	message string // for the agent
	param   string // the field that is wrong; empty: none
	// kind is the upstream's word for the error; empty: that of the status.
	kind string
	// retryAfter is in seconds; zero: not told.
	retryAfter int
	cause      error // for operators
}

// Error is the text for operators.
func (r refusal) Error() string {
	if r.cause == nil {
		return r.message
	}
	return r.message + ": " + r.cause.Error()
}

// Unwrap returns the cause.
func (r refusal) Unwrap() error { return r.cause }

// refuse refuses a field of a request.
func refuse(param, message string) error {
	return refusal{status: http.StatusBadRequest, code: "invalid_value", message: param + ": " + message, param: param}
}

// refusalOf translates an error. Texts of the platform never reach an agent.
func refusalOf(err error) refusal {
	var r refusal
	if errors.As(err, &r) {
		return r
	}
	f := fault.From(err)
	status, known := httpfault.Status(f.Kind)
	r = refusal{status: status, code: f.Code, message: f.Message, cause: err}
	switch {
	case !known || f.Kind == fault.Internal:
		r.status, r.code, r.message = http.StatusInternalServerError, string(fault.Internal), "something unforeseen happened"
	case f.Kind == fault.Unavailable:
		r.code, r.message = string(fault.Unavailable), "a part of the platform does not answer at the moment; try again"
		r.retryAfter = httpfault.RetryAfterSeconds
	case f.Kind == fault.RateLimited:
		r.retryAfter = httpfault.RetryAfterSeconds
	case f.Kind == fault.Invalid:
		r.status = http.StatusBadRequest // what OpenAI's clients expect
	}
	if r.code == "" {
		r.code = string(f.Kind)
	}
	return r
}

// kinds are OpenAI's words for statuses.
var kinds = map[int]string{
	http.StatusUnauthorized:    "authentication_error",
	http.StatusPaymentRequired: "insufficient_quota",
	http.StatusForbidden:       "permission_error",
	http.StatusTooManyRequests: "rate_limit_error",
}

// body is the error in OpenAI's shape.
func (r refusal) body() any {
	kind := r.kind
	if kind == "" {
		kind = kinds[r.status]
	}
	if kind == "" && r.status >= http.StatusInternalServerError {
		kind = "server_error"
	}
	if kind == "" {
		kind = "invalid_request_error"
	}
	var param *string
	if r.param != "" {
		param = &r.param
	}
	type text struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	return struct {
		Error text `json:"error"`
	}{text{r.message, kind, param, r.code}}
}

func (r refusal) write(w http.ResponseWriter) {
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	writeJSON(w, r.status, r.body())
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever hangs up misses the answer
}
