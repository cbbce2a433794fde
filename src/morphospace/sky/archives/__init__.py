"""Getting data: public labelled sets by name, cut-outs of surveys by position."""
