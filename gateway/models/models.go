package models

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"agentmarket/ids"
)

// The values of a Config where it has none.
const (
	defaultCallTimeout      = 10 * time.Minute
	defaultSilenceTimeout   = 2 * time.Minute
	defaultMaxResponseBytes = 16 << 20
)

// Session is whose call it is.
type Session struct {
	Run     ids.Run
	Attempt int
	// Org pays for the run. The upstream is told a hash of it, by which it can tell
	// abuse of one from that of another.
	Org ids.Org
	// Models are the names of the models that are granted. One that ends in * grants
	// all that begin so.
	Models []string
	// Ended is closed when the session ends, and its calls with it. Nil: the session
	// lasts as long as a call.
	Ended <-chan struct{}
}

func (s Session) grants(model string) bool {
	for _, have := range s.Models {
		prefix, open := strings.CutSuffix(have, "*")
		if have == model || open && strings.HasPrefix(model, prefix) {
			return true
		}
	}
	return false
}

// Config is what an endpoint is made of. Fields without a default are required.
type Config struct {
	// Session finds out whose call it is. Its faults are answered in OpenAI's shape.
	Session func(*http.Request) (Session, error)
	// Catalog is the models, Upstreams the servers that have them.
	Catalog   []Model
	Upstreams []Upstream
	Meter     Meter
	// Client connects to the upstreams, and decides where it connects to. Redirects
	// are not followed and cookies not kept, whatever it says of them.
	Client *http.Client
	Log    *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// CallTimeout bounds a whole call; zero: ten minutes.
	CallTimeout time.Duration
	// SilenceTimeout bounds the time until the upstream begins a stream, and between
	// two of its chunks; zero: two minutes. A call that is not streamed says nothing
	// until it is done: it is bounded by CallTimeout alone.
	SilenceTimeout time.Duration
	// MaxResponseBytes bounds what the upstream answers; zero: 16 MiB.
	MaxResponseBytes int64
}

// endpoint is a handler of the calls of runs.
type endpoint struct {
	Config
	catalog catalog
}

// New returns the handler of /v1/chat/completions and /v1/models. It keeps no state of
// runs: any of several replicas answers any call. What is wrong with the config is an
// error.
func New(c Config) (http.Handler, error) {
	if c.Session == nil || c.Meter == nil || c.Client == nil || c.Log == nil {
		return nil, errors.New("models: session, meter, client and log are required")
	}
	if c.CallTimeout < 0 || c.SilenceTimeout < 0 || c.MaxResponseBytes < 0 {
		return nil, errors.New("models: a bound is below zero")
	}
	catalog, err := newCatalog(c.Catalog, c.Upstreams)
	if err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.SilenceTimeout == 0 {
		c.SilenceTimeout = defaultSilenceTimeout
	}
	if c.MaxResponseBytes == 0 {
		c.MaxResponseBytes = defaultMaxResponseBytes
	}
	client := *c.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar, client.Timeout = nil, 0
	c.Client = &client
	return (&endpoint{Config: c, catalog: catalog}).handler(), nil
}

func (e *endpoint) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", e.answered(e.complete))
	mux.HandleFunc("GET /v1/models", e.answered(e.list))
	mux.HandleFunc("/", e.answered(func(http.ResponseWriter, *http.Request, Session) error {
		return refusal{status: http.StatusNotFound, code: "unknown_url", message: "the endpoint has no such call"}
	}))
	return mux
}

// answered finds out whose call it is, and answers with the error that it ends with. An
// error after the answer has begun is the call's own to tell.
func (e *endpoint) answered(do func(http.ResponseWriter, *http.Request, Session) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := e.Session(r)
		if err == nil {
			err = do(w, r, s)
		}
		if err == nil {
			return
		}
		refused := refusalOf(err)
		if refused.status >= http.StatusInternalServerError && r.Context().Err() == nil {
			e.Log.WarnContext(r.Context(), "model call failed", "run_id", s.Run, "attempt", s.Attempt, "code", refused.code, "error", err)
		}
		refused.write(w)
	}
}

type listed struct {
	Object string        `json:"object"`
	Data   []listedModel `json:"data"`
}

type listedModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// list says which models are granted, in the order of their names.
func (e *endpoint) list(w http.ResponseWriter, _ *http.Request, s Session) error {
	answer := listed{Object: "list", Data: []listedModel{}}
	for _, name := range e.catalog.granted(s) {
		answer.Data = append(answer.Data, listedModel{ID: name, Object: "model", OwnedBy: "agentmarket"})
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}
