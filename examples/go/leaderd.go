package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

// ErrNotLeader says that this instance does not lead, or not for as long as was asked.
var ErrNotLeader = errors.New("not the leader")

// Term is a yes with its fencing token. It is a promise that ends by itself; look at Valid before each step.
type Term struct {
	Token string
	until time.Time
}

// Valid tells whether the promise still holds. (Go's monotonic clock stands still while a machine sleeps: where yours do, let
// the resource check the token.)
func (t Term) Valid() bool { return time.Now().Before(t.until) }

// Context ends when the promise does.
func (t Term) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(parent, t.until)
}

// Leaderd asks the daemon over its Unix socket.
type Leaderd struct {
	election string
	client   http.Client
}

// NewLeaderd finds the daemon at LEADERD_SOCKET, or where it is by default.
func NewLeaderd(election string) *Leaderd {
	socket := os.Getenv("LEADERD_SOCKET")
	if socket == "" {
		socket = "/run/leaderd/leaderd.sock"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial}
	return &Leaderd{election, http.Client{Transport: transport, Timeout: 3 * time.Second}}
}

// Ask gets a promise that nobody else leads for so long, counted from before the question was sent.
func (l *Leaderd) Ask(ctx context.Context, promise time.Duration) (Term, error) {
	ms := fmt.Sprintf("%dms", promise.Milliseconds())
	path := "http://localhost/is-leader/" + url.PathEscape(l.election) + "?promise=" + ms + "&min_valid=" + ms
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return Term{}, err
	}
	asked := time.Now()
	response, err := l.client.Do(request)
	if err != nil {
		return Term{}, err
	}
	defer response.Body.Close()
	token := response.Header.Get("X-Fencing-Token")
	validFor, err := strconv.ParseInt(response.Header.Get("X-Leaderd-Valid-For-Ms"), 10, 64)
	if response.StatusCode != http.StatusOK || token == "" || err != nil {
		return Term{}, ErrNotLeader
	}
	term := Term{token, asked.Add(time.Duration(validFor) * time.Millisecond)}
	if !term.Valid() {
		return Term{}, ErrNotLeader
	}
	return term, nil
}
