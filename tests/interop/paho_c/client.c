// Paho's MQTTClient for C behind the commands of drivers/process.rs: client HOST PORT VERSION.

#define _GNU_SOURCE
#include <MQTTClient.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000
#define INFLIGHT_MAX 1000
#define FIELDS_MAX 64
#define SENT_MAX 10000

typedef struct {
    const char *name;
    char *value;
    int length;
} Field;

typedef struct {
    const char *word;
    int count;
    Field fields[FIELDS_MAX];
} Command;

static MQTTClient client;
static int version;
static int sent_count;
static MQTTClient_deliveryToken sent[SENT_MAX];

static void fail(const char *what, int code)
{
    fprintf(stderr, "%s: %d (%s)\n", what, code, MQTTClient_strerror(code));
    exit(1);
}

static int decode(char *value)
{
    char *to = value;
    for (const char *from = value; *from != '\0'; from++) {
        if (*from == '%') {
            char digits[] = {from[1], from[2], '\0'};
            *to++ = (char)strtol(digits, NULL, 16);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return (int)(to - value);
}

static void encode(FILE *line, const char *value, int length)
{
    for (int at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)value[at];
        if (isalnum(byte))
            fputc(byte, line);
        else
            fprintf(line, "%%%02X", byte);
    }
}

static void say(const char *word, const char *name, int number)
{
    if (name == NULL)
        printf("%s\n", word);
    else
        printf("%s\t%s=%d\n", word, name, number);
    fflush(stdout);
}

static Command parse(char *line)
{
    char *rest = line;
    Command command = {.word = strsep(&rest, "\t")};
    for (char *field; (field = strsep(&rest, "\t")) != NULL; command.count++) {
        if (command.count == FIELDS_MAX)
            fail("too many fields", command.count);
        const char *name = strsep(&field, "=");
        // A User Property has two values in one; they are decoded where it is used.
        int length = strcmp(name, "user_property") == 0 ? 0 : decode(field);
        command.fields[command.count] = (Field){name, field, length};
    }
    return command;
}

static Field *find(Command *command, const char *name)
{
    for (int at = 0; at < command->count; at++)
        if (strcmp(command->fields[at].name, name) == 0)
            return &command->fields[at];
    return NULL;
}

static const char *text(Command *command, const char *name)
{
    Field *field = find(command, name);
    return field == NULL ? NULL : field->value;
}

static int number(Command *command, const char *name)
{
    const char *digits = text(command, name);
    return digits == NULL ? 0 : atoi(digits);
}

static void add_number(MQTTProperties *properties, Command *command, const char *name,
                       enum MQTTPropertyCodes code)
{
    if (find(command, name) == NULL)
        return;
    MQTTProperty property = {.identifier = code};
    if (code == MQTTPROPERTY_CODE_TOPIC_ALIAS || code == MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM)
        property.value.integer2 = (unsigned short)number(command, name);
    else
        property.value.integer4 = (unsigned int)number(command, name);
    MQTTProperties_add(properties, &property);
}

static void add_data(MQTTProperties *properties, Command *command, const char *name,
                     enum MQTTPropertyCodes code)
{
    Field *field = find(command, name);
    if (field == NULL)
        return;
    MQTTProperty property = {.identifier = code};
    property.value.data = (MQTTLenString){field->length, field->value};
    MQTTProperties_add(properties, &property);
}

static void add_user_properties(MQTTProperties *properties, Command *command)
{
    for (int at = 0; at < command->count; at++) {
        if (strcmp(command->fields[at].name, "user_property") != 0)
            continue;
        char *value = command->fields[at].value;
        char *name = strsep(&value, "=");
        MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};
        property.value.data.data = name;
        property.value.data.len = decode(name);
        property.value.value.data = value;
        property.value.value.len = decode(value);
        MQTTProperties_add(properties, &property);
    }
}

static void show_property(FILE *line, const MQTTProperty *property)
{
    const MQTTLenString *data = &property->value.data;
    switch (property->identifier) {
    case MQTTPROPERTY_CODE_TOPIC_ALIAS:
        fprintf(line, "\ttopic_alias=%u", property->value.integer2);
        return;
    case MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL:
        fprintf(line, "\tmessage_expiry=%u", property->value.integer4);
        return;
    case MQTTPROPERTY_CODE_CONTENT_TYPE:
        fputs("\tcontent_type=", line);
        break;
    case MQTTPROPERTY_CODE_RESPONSE_TOPIC:
        fputs("\tresponse_topic=", line);
        break;
    case MQTTPROPERTY_CODE_CORRELATION_DATA:
        fputs("\tcorrelation_data=", line);
        break;
    case MQTTPROPERTY_CODE_USER_PROPERTY:
        fputs("\tuser_property=", line);
        encode(line, data->data, data->len);
        fputc('=', line);
        data = &property->value.value;
        break;
    default:
        return;
    }
    encode(line, data->data, data->len);
}

// Called by Paho's thread.
static int message_arrived(void *context, char *topic, int topic_length,
                           MQTTClient_message *message)
{
    (void)context;
    char *printed;
    size_t length;
    FILE *line = open_memstream(&printed, &length);
    fprintf(line, "message\tqos=%d\tretain=%d\ttopic=", message->qos, message->retained);
    // The length is 0 unless the topic has a NUL in it.
    encode(line, topic, topic_length > 0 ? topic_length : (int)strlen(topic));
    fputs("\tpayload=", line);
    encode(line, message->payload, message->payloadlen);
    for (int at = 0; at < message->properties.count; at++)
        show_property(line, &message->properties.array[at]);
    fputc('\n', line);
    fclose(line);
    fwrite(printed, length, 1, stdout);
    fflush(stdout);
    free(printed);
    MQTTClient_freeMessage(&message);
    MQTTClient_free(topic);
    return 1;
}

static void create(const char *host, const char *port, const char *client_id)
{
    char address[256];
    snprintf(address, sizeof address, "tcp://%s:%s", host, port);
    MQTTClient_createOptions options = MQTTClient_createOptions_initializer;
    options.MQTTVersion = version;
    int code = MQTTClient_createWithOptions(&client, address, client_id,
                                            MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
    if (code != MQTTCLIENT_SUCCESS)
        fail("create", code);
    MQTTClient_setCallbacks(client, NULL, NULL, message_arrived, NULL);
}

static void connect_to(const char *host, const char *port, Command *command)
{
    create(host, port, text(command, "client_id"));
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    options.MQTTVersion = version;
    options.cleansession = version < MQTTVERSION_5 && number(command, "clean");
    options.cleanstart = version == MQTTVERSION_5 && number(command, "clean");
    // Otherwise it sends one message at a time.
    options.reliable = 0;
    options.maxInflightMessages = INFLIGHT_MAX;
    MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
    Field *payload = find(command, "will_payload");
    if (payload != NULL) {
        will.topicName = text(command, "will_topic");
        will.qos = number(command, "will_qos");
        will.payload.len = payload->length;
        will.payload.data = payload->value;
        options.will = &will;
    }
    int code;
    if (version < MQTTVERSION_5) {
        code = MQTTClient_connect(client, &options);
    } else {
        MQTTProperties properties = MQTTProperties_initializer;
        MQTTProperties will_properties = MQTTProperties_initializer;
        add_number(&properties, command, "session_expiry",
                   MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL);
        add_number(&properties, command, "topic_alias_maximum",
                   MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM);
        add_number(&will_properties, command, "will_delay", MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL);
        MQTTResponse response =
            MQTTClient_connect5(client, &options, &properties, payload ? &will_properties : NULL);
        code = response.reasonCode;
        MQTTResponse_free(response);
        MQTTProperties_free(&properties);
        MQTTProperties_free(&will_properties);
    }
    if (code < 0)
        fail("connect", code);
    else if (code > 0)
        say("refused", "code", code);
    else if (version == MQTTVERSION_5)
        // Paho fills it in for 3.1.1 only.
        say("connected", NULL, 0);
    else
        say("connected", "session_present", options.returned.sessionPresent);
}

static void subscribe(Command *command)
{
    char *filter = (char *)text(command, "filter");
    int qos = number(command, "qos");
    if (version < MQTTVERSION_5) {
        // Of these only the one for many says which QoS was granted.
        int code = MQTTClient_subscribeMany(client, 1, &filter, &qos);
        if (code != MQTTCLIENT_SUCCESS)
            fail("subscribe", code);
    } else {
        MQTTResponse response = MQTTClient_subscribe5(client, filter, qos, NULL, NULL);
        qos = response.reasonCode;
        MQTTResponse_free(response);
    }
    say("subscribed", "code", qos);
}

static void unsubscribe(Command *command)
{
    MQTTResponse response = MQTTClient_unsubscribe5(client, text(command, "filter"), NULL);
    if (response.reasonCode != MQTTREASONCODE_SUCCESS)
        fail("unsubscribe", response.reasonCode);
    MQTTResponse_free(response);
    say("unsubscribed", NULL, 0);
}

static void publish(Command *command)
{
    Field *payload = find(command, "payload");
    MQTTClient_message message = MQTTClient_message_initializer;
    message.payload = payload->value;
    message.payloadlen = payload->length;
    message.qos = number(command, "qos");
    message.retained = number(command, "retain");
    MQTTProperties *properties = &message.properties;
    if (version == MQTTVERSION_5) {
        add_number(properties, command, "topic_alias", MQTTPROPERTY_CODE_TOPIC_ALIAS);
        add_number(properties, command, "message_expiry",
                   MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
        add_data(properties, command, "content_type", MQTTPROPERTY_CODE_CONTENT_TYPE);
        add_data(properties, command, "response_topic", MQTTPROPERTY_CODE_RESPONSE_TOPIC);
        add_data(properties, command, "correlation_data", MQTTPROPERTY_CODE_CORRELATION_DATA);
        add_user_properties(properties, command);
    }
    MQTTClient_deliveryToken token = 0;
    MQTTResponse response =
        MQTTClient_publishMessage5(client, text(command, "topic"), &message, &token);
    if (response.reasonCode != MQTTREASONCODE_SUCCESS)
        fail("publish", response.reasonCode);
    MQTTResponse_free(response);
    MQTTProperties_free(properties);
    if (message.qos > 0) {
        if (sent_count == SENT_MAX)
            fail("too much is sent", sent_count);
        sent[sent_count++] = token;
    }
}

static void wait_for_all(void)
{
    for (int at = 0; at < sent_count; at++) {
        int code = MQTTClient_waitForCompletion(client, sent[at], PATIENCE_MS);
        if (code != MQTTCLIENT_SUCCESS)
            fail("wait", code);
    }
    sent_count = 0;
    say("acknowledged", NULL, 0);
}

static void disconnect(Command *command)
{
    MQTTProperties properties = MQTTProperties_initializer;
    add_number(&properties, command, "session_expiry", MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL);
    int code = MQTTClient_disconnect5(client, PATIENCE_MS, MQTTREASONCODE_SUCCESS,
                                      version == MQTTVERSION_5 ? &properties : NULL);
    if (code != MQTTCLIENT_SUCCESS)
        fail("disconnect", code);
    MQTTProperties_free(&properties);
    say("disconnected", NULL, 0);
}

int main(int count, char **arguments)
{
    if (count != 4)
        fail("wants a host, a port and a version", count);
    version = strcmp(arguments[3], "3.1") == 0     ? MQTTVERSION_3_1
              : strcmp(arguments[3], "3.1.1") == 0 ? MQTTVERSION_3_1_1
                                                   : MQTTVERSION_5;
    char *line = NULL;
    size_t size = 0;
    for (ssize_t length; (length = getline(&line, &size, stdin)) > 0;) {
        line[length - 1] = '\0';
        Command command = parse(line);
        if (strcmp(command.word, "connect") == 0)
            connect_to(arguments[1], arguments[2], &command);
        else if (strcmp(command.word, "subscribe") == 0)
            subscribe(&command);
        else if (strcmp(command.word, "unsubscribe") == 0)
            unsubscribe(&command);
        else if (strcmp(command.word, "publish") == 0)
            publish(&command);
        else if (strcmp(command.word, "wait") == 0)
            wait_for_all();
        else if (strcmp(command.word, "disconnect") == 0)
            disconnect(&command);
    }
    free(line);
    return 0;
}
