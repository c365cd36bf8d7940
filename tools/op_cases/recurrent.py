"""Recurrent layers and cells."""


def weights(c, layers, directions, gates, inputs, hidden, biases=True, proj=0):
    out, state = [], proj or hidden
    for layer in range(layers):
        for _ in range(directions):
            out.append(c.randn(gates * hidden, inputs if layer == 0 else state * directions, scale=0.5))
            out.append(c.randn(gates * hidden, state, scale=0.5))
            if biases:
                out += [c.randn(gates * hidden, scale=0.5), c.randn(gates * hidden, scale=0.5)]
            if proj:
                out.append(c.randn(proj, hidden, scale=0.5))
    return out


def cases(c):
    for name, gates in [("lstm.input", 4), ("gru.input", 3), ("rnn_tanh.input", 1), ("rnn_relu.input", 1)]:
        for layers, bidirectional, batch_first, biases in [(1, False, False, True), (2, True, False, True),
                                                           (1, True, True, False)]:
            directions = 2 if bidirectional else 1
            h = c.randn(layers * directions, 2, 4)
            hx = [h, c.randn(layers * directions, 2, 4)] if gates == 4 else h
            x = c.randn(2, 3, 5) if batch_first else c.randn(3, 2, 5)
            params = weights(c, layers, directions, gates, 5, 4, biases)
            c.add(name, x, hx, params, biases, layers, 0.0, False, bidirectional, batch_first)
    c.add("lstm.input", c.randn(3, 2, 5), [c.randn(1, 2, 2), c.randn(1, 2, 4)],
          weights(c, 1, 1, 4, 5, 4, True, 2), True, 1, 0.0, False, False, False)
    c.error("gru.input", "ValueError", c.randn(3, 2, 5), c.randn(1, 3, 4), weights(c, 1, 1, 3, 5, 4), True, 1,
            0.0, False, False, False)
    for name, gates in [("lstm_cell", 4), ("gru_cell", 3), ("rnn_tanh_cell", 1), ("rnn_relu_cell", 1)]:
        w = weights(c, 1, 1, gates, 5, 4)
        hx = [c.randn(2, 4), c.randn(2, 4)] if gates == 4 else c.randn(2, 4)
        c.add(name, c.randn(2, 5), hx, *w)
        c.add(name, c.randn(2, 5), hx, w[0], w[1])
    c.error("gru_cell", "ValueError", c.randn(2, 4), c.randn(2, 4), *weights(c, 1, 1, 3, 5, 4))
