package loadtest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/farmspec/farmspec"
)

// feed gives an answer its bytes in pieces of n, and the end of the connection.
func feed(raw []byte, n int) (*answer, error) {
	a := new(answer)
	a.reset()
	for len(raw) > 0 {
		piece := raw[:min(n, len(raw))]
		raw = raw[len(piece):]
		a.raw = append(a.raw, piece...)
		whole, err := a.more()
		if err != nil {
			return a, err
		}
		if whole {
			a.over += len(raw)
			return a, nil
		}
	}
	if a.closed() {
		return a, nil
	}
	return a, io.ErrUnexpectedEOF
}

func TestAnswer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tc := range []struct {
		name, raw string
		body      string
		keep      bool
		err       error
		why       string
	}{
		{"with a length", ok + "Content-Length: 4\r\n\r\npage", "page", true, nil, "RFC 9112, section 6.3"},
		{"without a body", "HTTP/1.1 204 No Content\r\n\r\n", "", true, nil, "204 never has one"},
		{"with chunks", ok + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\npag\r\n01\r\ne\r\n0\r\nTrailer: 1\r\n\r\n", "page", true, nil, "RFC 9112, section 7.1"},
		{"until the end", ok + "\r\npage", "page", false, nil, "nothing else tells its length"},
		{"that closes", ok + "Connection: x, Close\r\nContent-Length: 0\r\n\r\n", "", false, nil, "RFC 9112, section 9.6"},
		{"of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "", false, nil, "it closes unless it says otherwise"},
		{"of HTTP/1.0 that keeps", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", "", true, nil, "it says otherwise"},
		{"after an interim one", "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\n" + ok + "Content-Length: 4\r\n\r\npage", "page", true, nil, "RFC 9110, section 15.2"},
		{"with bare line feeds", "HTTP/1.1 200\nContent-Length: 4\n\npage", "page", true, nil, "RFC 9112, section 2.2 allows it"},
		{"cut short", ok + "Content-Length: 5\r\n\r\npage", "", false, io.ErrUnexpectedEOF, "a part of a page is no page"},
		{"with two lengths", ok + "Content-Length: 4\r\nContent-Length: 5\r\n\r\npage", "", false, errMalformed, "one of them would split the response"},
		{"with length and chunks", ok + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", false, errMalformed, "one of them would split the response"},
		{"with a signed length", ok + "Content-Length: +4\r\n\r\npage", "", false, errMalformed, "only digits are a length"},
		{"with another coding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "", false, errMalformed, "it was not asked for"},
		{"with a blank before the colon", ok + "Content-Length : 4\r\n\r\npage", "", false, errMalformed, "RFC 9112, section 5.1"},
		{"with a folded field", ok + "X: a\r\n b\r\n\r\n", "", false, errMalformed, "RFC 9112, section 5.2"},
		{"with a lone carriage return", ok + "X: a\rb\r\n\r\n", "", false, errMalformed, "another reader would see two fields"},
		{"that switches protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", false, errMalformed, "nobody asked for it"},
		{"of another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "", false, errMalformed, "no HTTP"},
		{"with a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", "", false, errMalformed, "no HTTP"},
		{"longer than a page", ok + "Content-Length: 999999999\r\n\r\n", "", false, errTooLong, "it would fill the memory"},
		{"with a chunk longer than a page", ok + "Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n", "", false, errTooLong, "it would fill the memory"},
		{"with a head without end", ok + strings.Repeat("X: y\r\n", maxHead/6+1), "", false, errMalformed, "it would fill the memory"},
		{"with a chunk line without end", ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", maxLine+2), "", false, errMalformed, "it would fill the memory"},
		{"with trailers without end", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: y\r\n", 1000), "", false, errMalformed, "nothing is read from them"},
		{"with interim ones without end", strings.Repeat("HTTP/1.1 102 Wait\r\n\r\n", 100), "", false, errMalformed, "it would take for ever"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1, 7, 1 << 20} {
				if n == 1 && len(tc.raw) > 10_000 {
					continue // a long head in single bytes is no other case
				}
				a, err := feed([]byte(tc.raw), n)
				if !errors.Is(err, tc.err) {
					t.Fatalf("in pieces of %d: %v, want %v (%s)", n, err, tc.err, tc.why)
				}
				if err == nil && (string(a.text()) != tc.body || a.keep != tc.keep) {
					t.Errorf("in pieces of %d: body %q, keep %v; want %q, %v (%s)", n, a.text(), a.keep, tc.body, tc.keep, tc.why)
				}
			}
		})
	}
}

func TestAnswerFields(t *testing.T) {
	a, err := feed([]byte("HTTP/1.1 303 See Other\r\nset-cookie: a=1; Path=/\r\nSet-Cookie:b=2\r\nLOCATION: /x \r\nReferrer-Policy: no-referrer\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200"), 5)
	if err != nil || a.status != 303 || a.location != "/x" || a.policy != "no-referrer" || !slices.Equal(a.setCookies, []string{"a=1; Path=/", "b=2"}) {
		t.Errorf("%v: status %d, location %q, policy %q, cookies %q", err, a.status, a.location, a.policy, a.setCookies)
	}
	if a.over != 12 {
		t.Errorf("%d bytes are left over, want the 12 of an answer to no request", a.over)
	}
}

// Whatever a server sends: the same in one piece and in many, within bounds,
// and what is accepted is what net/http makes of it.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n",
		"HTTP/1.0 302 Found\r\nLocation: /\r\nSet-Cookie: a=b\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n",
	} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		whole, err := feed(raw, len(raw)+1)
		parts, err2 := feed(raw, 1+max(n, -n)%64)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("in one piece %v, in several %v", err, err2)
		}
		if err != nil {
			return
		}
		if whole.status != parts.status || whole.keep != parts.keep || whole.over != parts.over || !bytes.Equal(whole.text(), parts.text()) {
			t.Fatalf("in one piece %d %q, in several %d %q", whole.status, whole.text(), parts.status, parts.text())
		}
		if len(whole.text()) > farmspec.MaxBody {
			t.Fatalf("a body of %d bytes", len(whole.text()))
		}
		r := bufio.NewReader(bytes.NewReader(raw))
		var resp *http.Response
		for {
			if resp, err = http.ReadResponse(r, &http.Request{Method: http.MethodGet}); err != nil {
				return // net/http is stricter about fields that do not matter here
			}
			if resp.StatusCode/100 != 1 {
				break
			}
		}
		body, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != whole.status || !bytes.Equal(body, whole.text())) {
			t.Errorf("status %d and body %q; net/http has %d and %q", whole.status, whole.text(), resp.StatusCode, body)
		}
	})
}
