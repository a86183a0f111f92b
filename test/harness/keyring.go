//go:build linux

package harness

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Keyring is a D-Bus session bus with nothing on it but a Secret Service that is never locked.
type Keyring struct {
	Address string // for DBUS_SESSION_BUS_ADDRESS

	mu     sync.Mutex // guards items and serial
	items  map[dbus.ObjectPath]*keyringItem
	serial int
}

type keyringItem struct {
	attributes map[string]string
	value      []byte
}

// Keyring starts a keyring that ends with the test.
func (r *Run) Keyring(t testing.TB) *Keyring {
	t.Helper()
	path := filepath.Join(r.TempDir(t), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k := &Keyring{Address: "unix:path=" + path, items: map[dbus.ObjectPath]*keyringItem{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				k.serve(conn)
			}()
		}
	}()
	return k
}

// Secrets returns all secrets in the keyring. A key is the service and the user name, with a space between.
func (k *Keyring) Secrets() map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	secrets := map[string]string{}
	for _, i := range k.items {
		secrets[i.attributes["service"]+" "+i.attributes["username"]] = string(i.value)
	}
	return secrets
}

// serve speaks with one client: the handshake of the D-Bus specification, then method calls until the client hangs up.
func (k *Keyring) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	if _, err := r.ReadByte(); err != nil { // NUL, which may carry credentials
		return
	}
	for begun := false; !begun; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		answer := ""
		switch word := strings.Fields(line); {
		case len(word) == 1 && word[0] == "AUTH":
			answer = "REJECTED EXTERNAL"
		case len(word) > 0 && (word[0] == "AUTH" || word[0] == "DATA"):
			answer = "OK 0123456789abcdef0123456789abcdef"
		case len(word) > 0 && word[0] == "BEGIN":
			begun = true
			continue
		default:
			answer = "ERROR"
		}
		if _, err := fmt.Fprintf(conn, "%s\r\n", answer); err != nil {
			return
		}
	}
	for {
		call, err := dbus.DecodeMessage(r)
		if err != nil {
			return
		}
		reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()),
		}}
		if reply.Body = k.answer(call); reply.Body == nil {
			reply.Type = dbus.TypeError
			reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant("org.freedesktop.DBus.Error.UnknownMethod")
		} else if len(reply.Body) > 0 {
			reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
		}
		if reply.EncodeTo(conn, binary.LittleEndian) != nil {
			return
		}
	}
}

const loginCollection dbus.ObjectPath = "/org/freedesktop/secrets/collection/login"

// keyringSecret is the structure that the specification of the Secret Service calls Secret.
type keyringSecret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// answer returns the values with which a method of the bus or of the Secret Service answers; nil for an unknown method.
func (k *Keyring) answer(call *dbus.Message) []any {
	k.mu.Lock()
	defer k.mu.Unlock()
	path, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	none := dbus.ObjectPath("/") // no prompt has to be answered first
	switch call.Headers[dbus.FieldMember].Value().(string) {
	case "Hello":
		return []any{":1.1"}
	case "AddMatch", "RemoveMatch", "Close":
		return []any{}
	case "Get":
		return []any{dbus.MakeVariant([]dbus.ObjectPath{loginCollection})}
	case "OpenSession":
		return []any{dbus.MakeVariant(""), dbus.ObjectPath("/org/freedesktop/secrets/session/1")}
	case "Unlock":
		return []any{call.Body[0], none}
	case "SearchItems":
		found := []dbus.ObjectPath{}
		for p, i := range k.items {
			if maps.Equal(i.attributes, call.Body[0].(map[string]string)) {
				found = append(found, p)
			}
		}
		return []any{found}
	case "GetSecret":
		if i := k.items[path]; i != nil {
			return []any{keyringSecret{call.Body[0].(dbus.ObjectPath), []byte{}, i.value, "text/plain"}}
		}
	case "CreateItem":
		var secret keyringSecret
		properties := call.Body[0].(map[string]dbus.Variant)
		item := &keyringItem{attributes: properties["org.freedesktop.Secret.Item.Attributes"].Value().(map[string]string)}
		if dbus.Store([]any{call.Body[1]}, &secret) != nil {
			return nil
		}
		item.value = secret.Value
		for p, i := range k.items { // the new item replaces one with the same attributes
			if maps.Equal(i.attributes, item.attributes) {
				delete(k.items, p)
			}
		}
		k.serial++
		at := dbus.ObjectPath(fmt.Sprintf("%s/%d", loginCollection, k.serial))
		k.items[at] = item
		return []any{at, none}
	case "Delete":
		if k.items[path] != nil {
			delete(k.items, path)
			return []any{none}
		}
	}
	return nil
}
