package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/httpfault"
	"agentmarket/ids"
)

func TestEveryKindHasAStatus(t *testing.T) {
	for _, kind := range fault.Kinds() {
		status, known := httpfault.Status(kind)
		require.True(t, known, kind)
		p := problemFrom(fault.New(kind, "", "text"))
		require.Equal(t, status, p.Status)
		require.Equal(t, status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests,
			p.headers.Get("Retry-After") != "", "%s: whoever is to come again is told when", kind)
	}
	require.Equal(t, http.StatusInternalServerError, problemFrom(fault.New("from a newer version", "", "text")).Status)
}

func TestProblemFromKeepsNoTextOfThePlatform(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Internal, fault.Unavailable} {
		f := fault.Newf(kind, "secret_code", "secret").WithFields(fault.Field{Pointer: "secret"})
		text, err := json.Marshal(problemFrom(fmt.Errorf("secret: %w", f)))
		require.NoError(t, err)
		require.NotContains(t, string(text), "secret")
	}
}

func TestPreferredWait(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                          0,
		"wait":                      60 * time.Second,
		"wait=":                     60 * time.Second,
		`wait=""`:                   60 * time.Second,
		"wait=1":                    time.Second,
		"Wait = 10":                 10 * time.Second,
		`wait="10"`:                 10 * time.Second,
		"wait=60":                   60 * time.Second,
		"wait=61":                   60 * time.Second,
		"wait=99999999999999999999": 60 * time.Second,
		"wait=0":                    0,
		"wait=-1":                   0,
		"wait=1.5":                  0,
		"wait=soon":                 0,
		"waiting=5":                 0,
		"respond-async, wait=5":     5 * time.Second,
		"wait=5; foo=bar":           5 * time.Second,
		`foo="a, wait=3", wait=5`:   5 * time.Second,
		`foo="\", wait=3", wait=5`:  5 * time.Second,
		"handling=lenient;wait=5":   0,
		"wait=5, wait=7":            5 * time.Second,
		"wait=soon, wait=7":         0,
	} {
		require.Equal(t, want, preferredWait(http.Header{"Prefer": {header}}), header)
	}
	require.Equal(t, 5*time.Second, preferredWait(http.Header{"Prefer": {"respond-async", "wait=5"}}))
}

func FuzzPreferredWait(f *testing.F) {
	for _, seed := range []string{"wait", "wait=5, foo", `a="\",", wait="7"`, `"`, `\`, ";;,,=", "wait==5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		wait := preferredWait(http.Header{"Prefer": {header}})
		if wait < 0 || wait > maxWait || wait%time.Second != 0 {
			t.Fatalf("%q: %v", header, wait)
		}
	})
}

func FuzzDecodeCursor(f *testing.F) {
	f.Add(encodeCursor(ids.New[ids.Run](ids.PrefixRun)))
	f.Add(encodeCursor(ids.New[ids.Agent](ids.PrefixAgent)))
	f.Add("")
	f.Add("cnVuXw==")
	f.Fuzz(func(t *testing.T, cursor string) {
		id, err := decodeCursor[ids.Run](ids.PrefixRun, cursor)
		switch {
		case err != nil:
			if !fault.Is(err, fault.Invalid) || id != "" {
				t.Fatalf("%q: %q, %v", cursor, id, err)
			}
		case cursor == "":
			if id != "" {
				t.Fatalf("the first page begins after %q", id)
			}
		case !ids.Valid(ids.PrefixRun, string(id)) || encodeCursor(id) != cursor:
			t.Fatalf("%q: %q", cursor, id)
		}
	})
}

func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":null}],"c":"d"}`, `{"a":1,"a":2}`, `[[[[`, `1e9999`, `"\ud800"`, ` {} `, `{}{}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkJSON(data) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("%q was let through: %v", data, err)
		}
		if _, err := fingerprint("POST", "/", data); err != nil {
			t.Fatalf("%q has no fingerprint: %v", data, err)
		}
	})
}

func TestCheckJSON(t *testing.T) {
	for _, good := range []string{`1`, `"a"`, `null`, `[]`, `{"a":{"a":{"a":[{"a":1}]}},"b":"a"}`, `[{"a":1},{"a":2}]`,
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), `[1e400,-1E-400,0.1]`} {
		require.NoError(t, checkJSON([]byte(good)), good)
	}
	for _, bad := range []string{``, `{`, `{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, `[{"a":[],"b":{},"a":[]}]`,
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), `1e401`, `1e-401`,
		`1e99999999999999999999`, strings.Repeat("1", maxNumberLength+1), `[] []`} {
		require.Error(t, checkJSON([]byte(bad)), bad)
	}
}

func TestFingerprint(t *testing.T) {
	of := func(method, path, body string) string {
		print, err := fingerprint(method, path, []byte(body))
		require.NoError(t, err)
		return print
	}
	base := of("POST", "/a", `{"a":1,"b":[1,2]}`)
	require.Equal(t, base, of("POST", "/a", ` { "b" : [1, 2] , "a" : 1 } `))
	for _, other := range []string{of("PUT", "/a", `{"a":1,"b":[1,2]}`), of("POST", "/b", `{"a":1,"b":[1,2]}`),
		of("POST", "/a", `{"a":1,"b":[2,1]}`), of("POST", "/a", `{"a":12345678901234567890,"b":[1,2]}`)} {
		require.NotEqual(t, base, other)
	}
	require.Equal(t, of("POST", "/", ""), of("POST", "/", "{}"))
	require.NotEqual(t, of("POST", "/", `12345678901234567890`), of("POST", "/", `12345678901234567891`), "numbers keep their digits")
}

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter(RateLimit{PerSecond: 1, Burst: 1})
	l.size = 3
	now := time.Now()
	for i := range 10 {
		require.True(t, l.take(fmt.Sprint(i%4), now).allowed, "each one comes back after it was forgotten")
	}
	require.Len(t, l.buckets, 3)
	require.Equal(t, 3, l.recent.Len())
	require.False(t, l.take("1", now).allowed)
	require.True(t, l.take("1", now.Add(time.Second)).allowed)
}

func TestFromThisComputer(t *testing.T) {
	for _, tc := range []struct {
		remote, host, header string
		want                 bool
	}{
		{"127.0.0.1:5000", "localhost:3000", "", true},
		{"[::1]:5000", "[::1]:3000", "", true},
		{"127.0.0.1:5000", "127.0.0.1", "", true},
		{"192.0.2.1:5000", "localhost:3000", "", false},
		{"127.0.0.1:5000", "evil.example:3000", "", false},
		{"127.0.0.1:5000", "localhost:3000", "X-Forwarded-For", false},
		{"127.0.0.1:5000", "localhost:3000", "Origin", false},
		{"", "", "", false},
	} {
		r := &http.Request{RemoteAddr: tc.remote, Host: tc.host, Header: http.Header{}}
		if tc.header != "" {
			r.Header.Set(tc.header, "x")
		}
		require.Equal(t, tc.want, fromThisComputer(r), "%+v", tc)
	}
}

func TestStatusesOfTheCatalog(t *testing.T) {
	for code, e := range catalog {
		require.NotEmpty(t, http.StatusText(e.status), code)
		require.NotEmpty(t, e.title, code)
	}
}
