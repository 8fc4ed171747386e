package multiratev1_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	multiratev1 "multirate/proto/multirate/v1"
)

var update = flag.Bool("update", false, "write proto/testdata/golden anew")

const goldenDir = "../../testdata/golden"

// deterministic fixes the order of fields and of map entries.
var deterministic = proto.MarshalOptions{Deterministic: true}

// golden is one fully populated message, with one alternative of its oneof.
type golden struct {
	name    string
	message proto.Message
}

// goldens populates every request and response of the service.
func goldens(t *testing.T) []golden {
	t.Helper()
	var all []golden
	methods := multiratev1.File_multirate_v1_learning_rate_service_proto.Services().Get(0).Methods()
	for i := range methods.Len() {
		for _, m := range []protoreflect.MessageDescriptor{methods.Get(i).Input(), methods.Get(i).Output()} {
			all = append(all, alternatives(t, m)...)
		}
	}
	return all
}

// alternatives populates a message once for each alternative of its oneof.
func alternatives(t *testing.T, desc protoreflect.MessageDescriptor) []golden {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(desc.FullName())
	if err != nil {
		t.Fatal(err)
	}
	choices := []protoreflect.FieldDescriptor{nil}
	for i := range desc.Oneofs().Len() {
		if oneof := desc.Oneofs().Get(i); !oneof.IsSynthetic() {
			choices = nil
			for j := range oneof.Fields().Len() {
				choices = append(choices, oneof.Fields().Get(j))
			}
		}
	}
	var all []golden
	for _, choice := range choices {
		g := golden{name: string(desc.Name()), message: kind.New().Interface()}
		if choice != nil {
			g.name += "." + string(choice.Name())
		}
		(&filler{}).fill(g.message.ProtoReflect(), choice)
		all = append(all, g)
	}
	return all
}

// filler gives every field a value of its own, so that no two fields can be
// swapped unnoticed.
type filler struct {
	count int64
}

func (f *filler) fill(m protoreflect.Message, choice protoreflect.FieldDescriptor) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() && field != choice {
			continue
		}
		switch {
		case field.IsMap():
			for range 2 {
				key := f.scalar(field.MapKey()).MapKey()
				m.Mutable(field).Map().Set(key, f.scalar(field.MapValue()))
			}
		case field.IsList() && field.Message() != nil:
			for range 2 {
				f.fill(m.Mutable(field).List().AppendMutable().Message(), nil)
			}
		case field.IsList():
			for range 2 {
				m.Mutable(field).List().Append(f.scalar(field))
			}
		case field.Message() != nil:
			f.fill(m.Mutable(field).Message(), nil)
		default:
			m.Set(field, f.scalar(field))
		}
	}
}

func (f *filler) scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	f.count++
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.count))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(f.count << 33)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(1<<63 + uint64(f.count))
	case protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1<<31 + uint32(f.count))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(f.count) + 0.5)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(-float64(f.count) - 0.25)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf("%s %d", field.Name(), f.count))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0, 0xff, byte(f.count)})
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	}
	panic(fmt.Sprintf("no golden value for %s of kind %s", field.FullName(), field.Kind()))
}

// spacing is the random space with which prototext keeps its output from being
// relied on; the text files are written once and only ever parsed.
var spacing = regexp.MustCompile(`(?m)^(\s*\w+:)  `)

func writeGolden(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(goldenDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens(t) {
		wire, err := deterministic.Marshal(g.message)
		if err != nil {
			t.Fatal(err)
		}
		text := spacing.ReplaceAll([]byte(prototext.Format(g.message)), []byte("$1 "))
		write(t, g.name+".binpb", wire)
		write(t, g.name+".txtpb", text)
	}
	write(t, "names.txt", names())
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(goldenDir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatalf("%v; go test ./proto/... -update writes new files", err)
	}
	return data
}

// names lists what is fixed beside the messages: methods and enum values.
func names() []byte {
	var b bytes.Buffer
	service := multiratev1.File_multirate_v1_learning_rate_service_proto.Services().Get(0)
	for i := range service.Methods().Len() {
		m := service.Methods().Get(i)
		stream := map[bool]string{true: "stream "}
		fmt.Fprintf(&b, "/%s/%s(%s%s) %s%s\n", service.FullName(), m.Name(),
			stream[m.IsStreamingClient()], m.Input().Name(), stream[m.IsStreamingServer()], m.Output().Name())
	}
	for _, file := range []protoreflect.FileDescriptor{
		multiratev1.File_multirate_v1_learning_rate_service_proto,
		multiratev1.File_multirate_v1_run_proto,
		multiratev1.File_multirate_v1_spectrum_proto,
		multiratev1.File_multirate_v1_statistics_proto,
	} {
		for i := range file.Enums().Len() {
			values := file.Enums().Get(i).Values()
			for j := range values.Len() {
				fmt.Fprintf(&b, "%s = %d\n", values.Get(j).FullName(), values.Get(j).Number())
			}
		}
	}
	return b.Bytes()
}

// The text names the fields and the bytes number them: a field that changes its
// number, its type or its name no longer joins the two.
func TestWireBytesAreThoseOfTheText(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			wire := read(t, g.name+".binpb")
			fromText, fromWire := g.message.ProtoReflect().New().Interface(), g.message.ProtoReflect().New().Interface()
			if err := prototext.Unmarshal(read(t, g.name+".txtpb"), fromText); err != nil {
				t.Fatal(err)
			}
			if err := proto.Unmarshal(wire, fromWire); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(fromText, fromWire) {
				t.Errorf("bytes decode to\n%v\nthe text says\n%v", fromWire, fromText)
			}
			got, err := deterministic.Marshal(fromText)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, wire) {
				t.Errorf("wire bytes are\n%x, want\n%x", got, wire)
			}
			if !proto.Equal(fromText, g.message) {
				t.Errorf("the message has fields that the files lack; -update adds them")
			}
		})
	}
}

func TestNamesAreThoseOnFile(t *testing.T) {
	if got, want := names(), read(t, "names.txt"); !bytes.Equal(got, want) {
		t.Errorf("methods and enums are\n%s, want\n%s", got, want)
	}
}

func TestNoGoldenFileIsLeftOver(t *testing.T) {
	known := []string{"names.txt"}
	for _, g := range goldens(t) {
		known = append(known, g.name+".binpb", g.name+".txtpb")
	}
	entries, err := os.ReadDir(goldenDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			t.Errorf("%s belongs to no message of the contract", e.Name())
		}
	}
}
