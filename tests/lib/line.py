"""A bad line to a server on this machine, made without the kernel's help: delay, a rate, stalls, a cut connection.

    line = Line(port, delay=0.04, rate=10e6 / 8, stall_every=2 << 20, stall=1, cut_after=5 << 20)
    ... http://127.0.0.1:%d % line.port ...
    line.close()
"""
import contextlib
import queue
import socket
import struct
import threading
import time

CHUNK = 16384


class Line:
    """All connections share the rate, each way, as they would a cable. `stalls` and `cuts` count what happened."""

    def __init__(self, port, delay, rate, stall_every, stall, cut_after):
        self.server, self.delay, self.rate = port, delay, rate
        self.stall_every, self.stall, self.cut_after = stall_every, stall, cut_after
        self.lock, self.free, self.carried, self.stalls, self.cuts = threading.Lock(), [0.0, 0.0], 0, 0, 0
        self.ends = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                server = socket.create_connection(("127.0.0.1", self.server))
                self.ends += [client, server]
                for way, (a, b) in enumerate(((client, server), (server, client))):
                    chunks = queue.Queue(8)
                    threading.Thread(target=self.read, args=(a, chunks, way), daemon=True).start()
                    threading.Thread(target=self.write, args=(a, b, chunks), daemon=True).start()

    def due(self, size, way):
        """When so many bytes have come out at the other end; None: the connection is cut in them."""
        with self.lock:
            before, self.carried = self.carried, self.carried + size
            if before < self.cut_after <= self.carried:
                self.cuts += 1
                return None
            self.free[way] = max(self.free[way], time.monotonic()) + size / self.rate
            if before // self.stall_every != self.carried // self.stall_every:
                self.stalls += 1
                self.free[way] += self.stall
            return self.free[way] + self.delay

    def read(self, a, chunks, way):
        with contextlib.suppress(OSError):
            while data := a.recv(CHUNK):
                due = self.due(len(data), way)
                chunks.put((due, data))
                if due is None:
                    return
        chunks.put((0, b""))

    @staticmethod
    def write(a, b, chunks):
        with contextlib.suppress(OSError):
            while True:
                due, data = chunks.get()
                if due is None:  # both ends see a reset
                    for s in (a, b):
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        s.close()
                    return
                if not data:
                    b.shutdown(socket.SHUT_WR)
                    return
                time.sleep(max(0, due - time.monotonic()))
                b.sendall(data)

    def close(self):
        for s in [self.socket, *self.ends]:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
