package saml

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/beevik/etree"
)

// Bounds of a message. A log-out request has a dozen elements on four levels.
const (
	maxMessage  = 64 << 10
	maxElements = 256
	maxDepth    = 16
)

// The namespaces.
const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsSignature = "http://www.w3.org/2000/09/xmldsig#"
	nsSOAP      = "http://schemas.xmlsoap.org/soap/envelope/"
)

// parse reads one XML document within bounds. A document type, a processing
// instruction, an attribute or ID given twice, and text around the root are
// refused: none has a place in a message, and each has been a way around a
// signature.
func parse(text []byte) (*etree.Element, error) {
	if err := harmless(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(text); err != nil {
		return nil, fmt.Errorf("%w: not XML", ErrMessage)
	}
	return doc.Root(), nil
}

func harmless(text []byte) error {
	if len(text) > maxMessage {
		return fmt.Errorf("more than %d bytes", maxMessage)
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	ids := make(map[string]bool)
	depth, elements, roots := 0, 0, 0
	for first := true; ; first = false {
		t, err := d.RawToken()
		if err == io.EOF {
			if depth != 0 || roots != 1 {
				return fmt.Errorf("%d roots, %d of them open", roots, depth)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("not XML")
		}
		switch t := t.(type) {
		case xml.Directive:
			return fmt.Errorf("a document type or other directive")
		case xml.ProcInst:
			if t.Target != "xml" || !first {
				return fmt.Errorf("a processing instruction")
			}
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return fmt.Errorf("text outside the root")
			}
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
			elements++
			if elements > maxElements || depth > maxDepth {
				return fmt.Errorf("more than %d elements, or %d levels", maxElements, maxDepth)
			}
			if err := attributes(t, ids); err != nil {
				return err
			}
		case xml.EndElement:
			depth--
		}
	}
}

func attributes(t xml.StartElement, ids map[string]bool) error {
	if !plainName(t.Name) {
		return fmt.Errorf("an element's name has more than one colon")
	}
	seen := make(map[xml.Name]bool)
	for _, a := range t.Attr {
		if seen[a.Name] || !plainName(a.Name) {
			return fmt.Errorf("an attribute is given twice, or its name has more than one colon")
		}
		seen[a.Name] = true
		if strings.EqualFold(a.Name.Local, "id") {
			if ids[a.Value] {
				return fmt.Errorf("an ID is given twice")
			}
			ids[a.Value] = true
		}
	}
	return nil
}

func plainName(n xml.Name) bool {
	return n.Local != "" && !strings.Contains(n.Local, ":") && !strings.Contains(n.Space, ":")
}

// is reports whether the element has that name in that namespace.
func is(e *etree.Element, ns, tag string) bool {
	return e != nil && e.Tag == tag && e.NamespaceURI() == ns
}

// children are those of that name.
func children(e *etree.Element, ns, tag string) []*etree.Element {
	var all []*etree.Element
	for _, c := range e.ChildElements() {
		if is(c, ns, tag) {
			all = append(all, c)
		}
	}
	return all
}

// child is the one child of that name; nil where there is none or are several.
func child(e *etree.Element, ns, tag string) *etree.Element {
	if e == nil {
		return nil
	}
	if all := children(e, ns, tag); len(all) == 1 {
		return all[0]
	}
	return nil
}

// text is an element's whole text. Text that is broken up, as by a comment, is
// none: libraries have disagreed about which part of it counts.
func text(e *etree.Element) string {
	if e == nil {
		return ""
	}
	var s strings.Builder
	for _, c := range e.Child {
		data, ok := c.(*etree.CharData)
		if !ok {
			return ""
		}
		s.WriteString(data.Data)
	}
	return strings.TrimSpace(s.String())
}
