package farmspec

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// Exchange is one HTTP request and its answer, as the browser saw them. It
// holds tokens in clear and stays in memory; reports get an [ExchangeRecord].
type Exchange struct {
	// Browser names who sent it.
	Browser string
	// Trace is the trace ID sent with it.
	Trace string
	// Start is when it was sent; Took how long until the body was read or given up.
	Start time.Time
	Took  time.Duration

	Method, URL   string
	RequestHeader http.Header
	RequestBody   string

	// Status is zero when no answer came; Err says why.
	Status int
	Header http.Header
	// Body is what was read, at most [MaxBody] bytes; Truncated says there was more.
	Body      []byte
	Truncated bool
	Err       error

	// Reused says that the connection had carried an earlier exchange.
	Reused bool
	// Closed says that the server closes the connection after this answer.
	Closed bool
	// FromCache says that the browser's cache answered and nothing was sent.
	FromCache bool
}

// MaxBody bounds what is read of an answer.
const MaxBody = 1 << 20

// Location returns the absolute address a redirect points to, or "".
func (x *Exchange) Location() string {
	if x.Status < 300 || x.Status > 399 {
		return ""
	}
	return resolve(x.URL, x.Header.Get("Location"))
}

// SetCookies parses the cookies of the answer.
func (x *Exchange) SetCookies() []*http.Cookie {
	return (&http.Response{Header: x.Header}).Cookies()
}

// Visit is what one click caused: the first request and every redirect
// followed from it, and then, for a page with resources, those.
type Visit struct {
	// Exchanges are the click's, oldest first; never empty.
	Exchanges []*Exchange
	// Resources are the sub-resources the page asked for.
	Resources []*Exchange
}

// Final is the last exchange of the click: the page itself, or where it ended.
func (v *Visit) Final() *Exchange { return v.Exchanges[len(v.Exchanges)-1] }

// Outcome says how the farm answered.
type Outcome string

// The outcomes.
const (
	// Accepted: the page's marker, and the right user where the page shows one.
	Accepted Outcome = "accepted"
	// Refused: an answer with neither the marker nor another user's data.
	Refused Outcome = "refused"
	// WrongUser: a protected page of somebody else (invariant I8).
	WrongUser Outcome = "wrong user"
	// NoAnswer: the connection failed, or no more of the answer was read than
	// does not tell; nobody knows whether the request had an effect.
	NoAnswer Outcome = "no answer"
)

// Judge says how an answer treats a request for the page by user. An answer
// whose status is an error is a refusal even if it shows the marker of the
// page, but content served is content served: marker and status 2xx decide.
func (t *Target) Judge(x *Exchange, p Page, user string) Outcome {
	switch {
	case x.Err != nil || x.Status == 0:
		return NoAnswer
	case x.Status == http.StatusNotModified:
		// A validator answered with 304 confirms a protected representation.
		return Accepted
	case x.Status/100 != 2:
		if p.Marker != "" && strings.Contains(string(x.Body), p.Marker) {
			return Accepted
		}
		return Refused
	case !strings.Contains(string(x.Body), p.Marker):
		if x.Truncated {
			return NoAnswer // it may stand in what was not read
		}
		return Refused
	case p.Echo && !strings.Contains(string(x.Body), t.Echo(user)):
		return WrongUser
	}
	return Accepted
}

var digestSalt = func() [16]byte {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return b
}()

// Digest returns a short salted digest of a secret. Two digests of one
// process are equal exactly where the secrets are; across processes they say
// nothing.
func Digest(secret string) string {
	h := sha256.New()
	h.Write(digestSalt[:])
	h.Write([]byte(secret))
	return "#" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:6])
}
